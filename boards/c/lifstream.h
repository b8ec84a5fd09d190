/* Driver of a core behind AXI. C99, no memory of its own, no operating system.
 *
 * A device is a struct that the user fills in: how registers are reached, how packets are exchanged, which network the
 * core should hold, and a buffer each way. On bare metal registers are lifstream_mmio() and packets go through an AXI
 * DMA (lifstream_axi_dma.h); anything else, a simulation for instance, brings functions of its own.
 *
 * No function is safe to call on one device from two threads or interrupts at once.
 */
#ifndef LIFSTREAM_H
#define LIFSTREAM_H

#include <stddef.h>
#include <stdint.h>

#include "lifstream_protocol.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a call has come to. */
typedef enum {
    LIFSTREAM_OK = 0,
    LIFSTREAM_ERROR_IDENTITY = -1,  /* there is no core at this address, or one whose registers are others */
    LIFSTREAM_ERROR_NETWORK = -2,   /* the core holds another network */
    LIFSTREAM_ERROR_ARGUMENT = -3,  /* an argument is out of bounds, or a buffer too small; nothing was sent */
    LIFSTREAM_ERROR_LINK = -4,      /* packets could not be exchanged; reset before the next call */
    LIFSTREAM_ERROR_TIMEOUT = -5,   /* no answer in time; reset before the next call */
    LIFSTREAM_ERROR_REPLY = -6,     /* the answer is to another command, or of another length; reset */
    LIFSTREAM_ERROR_COMMAND = -7,   /* this network does not know the command */
    LIFSTREAM_ERROR_LENGTH = -8,    /* the core refused the packet's length */
    LIFSTREAM_ERROR_VALUE = -9      /* the core refused a label, a rate shift or an event */
} lifstream_result;

/* A window of 32-bit registers; offsets in bytes. */
typedef struct {
    uint32_t (*read)(void *context, uint32_t offset);
    void (*write)(void *context, uint32_t offset, uint32_t value);
    void *context;
} lifstream_bus;

/* Exchange a packet for the one that answers it: `length` bytes of `command`, then at most `size` bytes of `reply`,
 * whose number goes to `received`. Returns LIFSTREAM_OK, ..._LINK or ..._TIMEOUT. */
typedef struct {
    lifstream_result (*exchange)(void *context, const uint8_t *command, size_t length, uint8_t *reply, size_t size,
                                 size_t *received);
    void *context;
} lifstream_link;

/* What a network's sizes are: NAME_network.h, beside these files, defines NAME_network. */
typedef struct {
    uint8_t digest[8];          /* of the contract */
    uint32_t sample_bytes;      /* of an image; 0 where samples are events, of any number */
    uint32_t classes;
    uint32_t responding;        /* neurons whose responses are in an answer */
    uint32_t response_bytes;    /* of a spike count, or number of potentials */
    uint32_t responses_signed;  /* whether they are such numbers, in two's complement */
    uint32_t weight_bytes;      /* of one weight */
    uint32_t weights_bytes;     /* of all weights */
    uint32_t thresholds_bytes;  /* of all adaptive thresholds, or thresholds of each neuron; 0 without */
    uint32_t decays_bytes;      /* likewise of what else neurons have of their own */
    uint32_t current_decays_bytes;
    uint32_t reset_values_bytes;
    uint32_t seeds;             /* states of random generators */
    uint32_t command_bytes;     /* of the longest packet to the core, events apart */
    uint32_t reply_bytes;       /* of the longest packet from it */
} lifstream_network;

typedef struct {
    lifstream_bus registers;
    lifstream_link link;
    const lifstream_network *network;
    uint8_t *command;           /* network->command_bytes or more; as the link wants them aligned */
    size_t command_size;
    uint8_t *reply;             /* network->reply_bytes or more */
    size_t reply_size;
} lifstream_device;

typedef struct {
    int32_t prediction;         /* class, or -1: a tie */
    const uint8_t *responses;   /* of neurons, in the reply buffer: good until the next call */
} lifstream_answer;

typedef struct {
    uint32_t rate_shift;
    uint64_t counters[LIFSTREAM_COUNTERS];  /* by LIFSTREAM_COUNTER_... */
} lifstream_statistics;

/* Registers at a base address, for `registers` of a device. */
lifstream_bus lifstream_mmio(volatile void *base);

/* What a result means, in a few words. */
const char *lifstream_error_text(lifstream_result result);

/* See that there is a core, that it holds this network, and that the buffers are large enough. */
lifstream_result lifstream_identify(const lifstream_device *device);

/* Reset the core; its weights stay. Learning that was under way is cut off. The link has to be reset by its owner. */
lifstream_result lifstream_reset(const lifstream_device *device);

/* Whether the core has nothing to do. */
int lifstream_is_idle(const lifstream_device *device);

/* Weights as bytes: little-endian, two's complement, network->weight_bytes each, layer by layer, row by row. */
lifstream_result lifstream_load_weights(const lifstream_device *device, const uint8_t *weights, size_t length);
/* `weights` is set to network->weights_bytes bytes in the reply buffer, good until the next call. */
lifstream_result lifstream_read_weights(const lifstream_device *device, const uint8_t **weights);
/* One weight of such bytes. */
int32_t lifstream_weight(const lifstream_network *network, const uint8_t *weights, size_t index);

/* Adaptive thresholds, or thresholds of each neuron, 4 bytes each; only networks that have them. */
lifstream_result lifstream_load_thresholds(const lifstream_device *device, const uint8_t *thresholds, size_t length);
lifstream_result lifstream_read_thresholds(const lifstream_device *device, const uint8_t **thresholds);

/* Numerators of decays, and reset values (two's complement), of each neuron, 4 bytes each; likewise. */
lifstream_result lifstream_load_decays(const lifstream_device *device, const uint8_t *decays, size_t length);
lifstream_result lifstream_read_decays(const lifstream_device *device, const uint8_t **decays);
lifstream_result lifstream_load_current_decays(const lifstream_device *device, const uint8_t *current_decays, size_t length);
lifstream_result lifstream_read_current_decays(const lifstream_device *device, const uint8_t **current_decays);
lifstream_result lifstream_load_reset_values(const lifstream_device *device, const uint8_t *reset_values, size_t length);
lifstream_result lifstream_read_reset_values(const lifstream_device *device, const uint8_t **reset_values);

/* Classify a sample: a byte per pixel, or 4 bytes per event. */
lifstream_result lifstream_infer(const lifstream_device *device, const uint8_t *sample, size_t length,
                                 lifstream_answer *answer);
/* Learn from a sample of a class; the answer is that from before. Weights may still change when this returns: the next
 * command waits for that. */
lifstream_result lifstream_train(const lifstream_device *device, const uint8_t *sample, size_t length, uint32_t label,
                                 lifstream_answer *answer);
/* Spike count of a neuron in an answer, or what the readout says of its potentials. */
int64_t lifstream_response(const lifstream_network *network, const lifstream_answer *answer, uint32_t neuron);

/* Learn with a rate of 2**-rate_shift from now on. */
lifstream_result lifstream_set_rate_shift(const lifstream_device *device, uint32_t rate_shift);
/* Set the random generators: network->seeds states, none of them zero. */
lifstream_result lifstream_seed(const lifstream_device *device, const uint32_t *states);

/* Rate shift and counters by a packet, once all samples before are done with. */
lifstream_result lifstream_get_statistics(const lifstream_device *device, lifstream_statistics *statistics);
lifstream_result lifstream_clear_counters(const lifstream_device *device);
/* A counter by its registers, at any time, whatever the core is doing. */
uint64_t lifstream_counter(const lifstream_device *device, uint32_t counter);

#ifdef __cplusplus
}
#endif

#endif
