#include "lifstream.h"

#include <string.h>

#include "lifstream_axi.h"

#define REGISTER(name) ((uint32_t)offsetof(lifstream_axi_t, name))

/* Reads of the control register until a reset is over, which lasts a few clocks. */
#define RESET_READS 1000

/* -- registers ------------------------------------------------------------------------------------------------ */

static uint32_t mmio_read(void *context, uint32_t offset)
{
    return *(volatile uint32_t *)((volatile uint8_t *)context + offset);
}

static void mmio_write(void *context, uint32_t offset, uint32_t value)
{
    *(volatile uint32_t *)((volatile uint8_t *)context + offset) = value;
}

lifstream_bus lifstream_mmio(volatile void *base)
{
    lifstream_bus bus;

    bus.read = mmio_read;
    bus.write = mmio_write;
    bus.context = (void *)base;
    return bus;
}

static uint32_t read_register(const lifstream_device *device, uint32_t offset)
{
    return device->registers.read(device->registers.context, offset);
}

static uint64_t little_endian(const uint8_t *bytes, size_t count)
{
    uint64_t value = 0;

    while (count-- > 0)
        value = value << 8 | bytes[count];
    return value;
}

/* Two's complement of so many bytes, fewer than 8. */
static int64_t signed_little_endian(const uint8_t *bytes, size_t count)
{
    const uint64_t raw = little_endian(bytes, count), sign = (uint64_t)1 << (8 * count - 1);

    return (raw & sign) != 0 ? (int64_t)(raw - sign) - (int64_t)sign : (int64_t)raw;
}

static void store(uint8_t *bytes, uint32_t value)
{
    size_t index;

    for (index = 0; index < 4; index++)
        bytes[index] = (uint8_t)(value >> (8 * index));
}

lifstream_result lifstream_identify(const lifstream_device *device)
{
    const lifstream_network *network = device->network;
    const uint32_t version = (uint32_t)LIFSTREAM_AXI__VERSION__IDENTITY_reset << LIFSTREAM_AXI__VERSION__IDENTITY_bp |
                             LIFSTREAM_AXI__VERSION__VERSION_reset;

    if (read_register(device, REGISTER(version)) != version)
        return LIFSTREAM_ERROR_IDENTITY;
    if (read_register(device, REGISTER(digest_low)) != (uint32_t)little_endian(network->digest, 4) ||
        read_register(device, REGISTER(digest_high)) != (uint32_t)little_endian(network->digest + 4, 4))
        return LIFSTREAM_ERROR_NETWORK;
    if (device->command_size < network->command_bytes || device->reply_size < network->reply_bytes)
        return LIFSTREAM_ERROR_ARGUMENT;
    return LIFSTREAM_OK;
}

lifstream_result lifstream_reset(const lifstream_device *device)
{
    int reads;

    device->registers.write(device->registers.context, REGISTER(control), LIFSTREAM_AXI__CONTROL__RESET_bm);
    for (reads = 0; reads < RESET_READS; reads++)
        if ((read_register(device, REGISTER(control)) & LIFSTREAM_AXI__CONTROL__RESET_bm) == 0)
            return LIFSTREAM_OK;
    return LIFSTREAM_ERROR_TIMEOUT;
}

int lifstream_is_idle(const lifstream_device *device)
{
    return (read_register(device, REGISTER(control)) & LIFSTREAM_AXI__CONTROL__IDLE_bm) != 0;
}

uint64_t lifstream_counter(const lifstream_device *device, uint32_t counter)
{
    const uint32_t low = REGISTER(images) + counter * (uint32_t)sizeof(lifstream_axi__counter_t);
    uint64_t value;

    if (counter >= LIFSTREAM_COUNTERS)
        return 0;
    value = read_register(device, low + (uint32_t)offsetof(lifstream_axi__counter_t, low));    /* holds the high word */
    return value | (uint64_t)read_register(device, low + (uint32_t)offsetof(lifstream_axi__counter_t, high)) << 32;
}

/* -- packets -------------------------------------------------------------------------------------------------- */

/* Send the `length` bytes in the command buffer; a good answer has a payload of so many bytes. */
static lifstream_result exchange(const lifstream_device *device, size_t length, size_t payload)
{
    size_t received = 0;
    lifstream_result result;

    if (payload + 2 > device->reply_size)
        return LIFSTREAM_ERROR_ARGUMENT;
    result = device->link.exchange(device->link.context, device->command, length, device->reply, device->reply_size,
                                   &received);
    if (result != LIFSTREAM_OK)
        return result;
    if (received < 2 || received > device->reply_size || device->reply[0] != device->command[0])
        return LIFSTREAM_ERROR_REPLY;
    switch (device->reply[1]) {
    case LIFSTREAM_STATUS_OK:
    case LIFSTREAM_STATUS_TIE:
        return received == payload + 2 ? LIFSTREAM_OK : LIFSTREAM_ERROR_REPLY;
    case LIFSTREAM_STATUS_UNKNOWN_COMMAND:
        return LIFSTREAM_ERROR_COMMAND;
    case LIFSTREAM_STATUS_BAD_LENGTH:
        return LIFSTREAM_ERROR_LENGTH;
    case LIFSTREAM_STATUS_BAD_VALUE:
        return LIFSTREAM_ERROR_VALUE;
    default:
        return LIFSTREAM_ERROR_REPLY;
    }
}

/* A command of `head` bytes that stand in the buffer already, the command's own included, and a payload. */
static lifstream_result command(const lifstream_device *device, size_t head, const uint8_t *payload, size_t length,
                                size_t reply)
{
    if (device->command_size < head || length > device->command_size - head)
        return LIFSTREAM_ERROR_ARGUMENT;
    if (length > 0)
        memcpy(device->command + head, payload, length);
    return exchange(device, head + length, reply);
}

static lifstream_result load(const lifstream_device *device, uint8_t code, const uint8_t *bytes, size_t length,
                             size_t wanted)
{
    if (length != wanted || wanted == 0)
        return LIFSTREAM_ERROR_ARGUMENT;
    device->command[0] = code;
    return command(device, 1, bytes, length, 0);
}

static lifstream_result read_back(const lifstream_device *device, uint8_t code, const uint8_t **bytes, size_t length)
{
    if (length == 0)
        return LIFSTREAM_ERROR_ARGUMENT;
    *bytes = device->reply + 2;
    device->command[0] = code;
    return command(device, 1, NULL, 0, length);
}

lifstream_result lifstream_load_weights(const lifstream_device *device, const uint8_t *weights, size_t length)
{
    return load(device, LIFSTREAM_COMMAND_LOAD_WEIGHTS, weights, length, device->network->weights_bytes);
}

lifstream_result lifstream_read_weights(const lifstream_device *device, const uint8_t **weights)
{
    return read_back(device, LIFSTREAM_COMMAND_READ_WEIGHTS, weights, device->network->weights_bytes);
}

lifstream_result lifstream_load_thresholds(const lifstream_device *device, const uint8_t *thresholds, size_t length)
{
    return load(device, LIFSTREAM_COMMAND_LOAD_THRESHOLDS, thresholds, length, device->network->thresholds_bytes);
}

lifstream_result lifstream_read_thresholds(const lifstream_device *device, const uint8_t **thresholds)
{
    return read_back(device, LIFSTREAM_COMMAND_READ_THRESHOLDS, thresholds, device->network->thresholds_bytes);
}

lifstream_result lifstream_load_decays(const lifstream_device *device, const uint8_t *decays, size_t length)
{
    return load(device, LIFSTREAM_COMMAND_LOAD_DECAYS, decays, length, device->network->decays_bytes);
}

lifstream_result lifstream_read_decays(const lifstream_device *device, const uint8_t **decays)
{
    return read_back(device, LIFSTREAM_COMMAND_READ_DECAYS, decays, device->network->decays_bytes);
}

lifstream_result lifstream_load_current_decays(const lifstream_device *device, const uint8_t *current_decays, size_t length)
{
    return load(device, LIFSTREAM_COMMAND_LOAD_CURRENT_DECAYS, current_decays, length, device->network->current_decays_bytes);
}

lifstream_result lifstream_read_current_decays(const lifstream_device *device, const uint8_t **current_decays)
{
    return read_back(device, LIFSTREAM_COMMAND_READ_CURRENT_DECAYS, current_decays, device->network->current_decays_bytes);
}

lifstream_result lifstream_load_reset_values(const lifstream_device *device, const uint8_t *reset_values, size_t length)
{
    return load(device, LIFSTREAM_COMMAND_LOAD_RESET_VALUES, reset_values, length, device->network->reset_values_bytes);
}

lifstream_result lifstream_read_reset_values(const lifstream_device *device, const uint8_t **reset_values)
{
    return read_back(device, LIFSTREAM_COMMAND_READ_RESET_VALUES, reset_values, device->network->reset_values_bytes);
}

int32_t lifstream_weight(const lifstream_network *network, const uint8_t *weights, size_t index)
{
    return (int32_t)signed_little_endian(weights + index * network->weight_bytes, network->weight_bytes);
}

static lifstream_result sample(const lifstream_device *device, size_t head, const uint8_t *bytes, size_t length,
                               lifstream_answer *answer)
{
    const lifstream_network *network = device->network;
    lifstream_result result;

    if (network->sample_bytes != 0 ? length != network->sample_bytes : length % LIFSTREAM_EVENT_BYTES != 0)
        return LIFSTREAM_ERROR_ARGUMENT;
    result = command(device, head, bytes, length, 1 + (size_t)network->response_bytes * network->responding);
    if (result == LIFSTREAM_OK) {
        answer->prediction = device->reply[1] == LIFSTREAM_STATUS_TIE ? -1 : (int32_t)device->reply[2];
        answer->responses = device->reply + 3;
    }
    return result;
}

lifstream_result lifstream_infer(const lifstream_device *device, const uint8_t *bytes, size_t length,
                                 lifstream_answer *answer)
{
    device->command[0] = device->network->sample_bytes != 0 ? LIFSTREAM_COMMAND_INFER : LIFSTREAM_COMMAND_INFER_EVENTS;
    return sample(device, 1, bytes, length, answer);
}

lifstream_result lifstream_train(const lifstream_device *device, const uint8_t *bytes, size_t length, uint32_t label,
                                 lifstream_answer *answer)
{
    if (label >= device->network->classes)
        return LIFSTREAM_ERROR_ARGUMENT;
    device->command[0] = device->network->sample_bytes != 0 ? LIFSTREAM_COMMAND_TRAIN : LIFSTREAM_COMMAND_TRAIN_EVENTS;
    device->command[1] = (uint8_t)label;
    return sample(device, 2, bytes, length, answer);
}

int64_t lifstream_response(const lifstream_network *network, const lifstream_answer *answer, uint32_t neuron)
{
    const uint8_t *bytes = answer->responses + (size_t)neuron * network->response_bytes;

    return network->responses_signed != 0 ? signed_little_endian(bytes, network->response_bytes)
                                          : (int64_t)little_endian(bytes, network->response_bytes);
}

lifstream_result lifstream_set_rate_shift(const lifstream_device *device, uint32_t rate_shift)
{
    const uint8_t payload = (uint8_t)rate_shift;

    if (rate_shift > UINT8_MAX)
        return LIFSTREAM_ERROR_ARGUMENT;
    device->command[0] = LIFSTREAM_COMMAND_SET_RATE_SHIFT;
    return command(device, 1, &payload, 1, 0);
}

lifstream_result lifstream_seed(const lifstream_device *device, const uint32_t *states)
{
    uint32_t index;

    if (device->command_size < 1 + 4 * (size_t)device->network->seeds)
        return LIFSTREAM_ERROR_ARGUMENT;
    device->command[0] = LIFSTREAM_COMMAND_SEED_RANDOM;
    for (index = 0; index < device->network->seeds; index++) {
        if (states[index] == 0)
            return LIFSTREAM_ERROR_ARGUMENT;
        store(device->command + 1 + 4 * (size_t)index, states[index]);
    }
    return exchange(device, 1 + 4 * (size_t)device->network->seeds, 0);
}

lifstream_result lifstream_get_statistics(const lifstream_device *device, lifstream_statistics *statistics)
{
    const uint8_t *payload = device->reply + 2;
    lifstream_result result;
    uint32_t index;

    device->command[0] = LIFSTREAM_COMMAND_STATUS;
    result = command(device, 1, NULL, 0, 9 + LIFSTREAM_COUNTERS * LIFSTREAM_COUNTER_BYTES);
    if (result != LIFSTREAM_OK)
        return result;
    if (memcmp(payload, device->network->digest, sizeof device->network->digest) != 0)
        return LIFSTREAM_ERROR_NETWORK;
    statistics->rate_shift = payload[8];
    for (index = 0; index < LIFSTREAM_COUNTERS; index++)
        statistics->counters[index] = little_endian(payload + 9 + index * LIFSTREAM_COUNTER_BYTES,
                                                    LIFSTREAM_COUNTER_BYTES);
    return LIFSTREAM_OK;
}

lifstream_result lifstream_clear_counters(const lifstream_device *device)
{
    device->command[0] = LIFSTREAM_COMMAND_CLEAR_COUNTERS;
    return command(device, 1, NULL, 0, 0);
}

const char *lifstream_error_text(lifstream_result result)
{
    switch (result) {
    case LIFSTREAM_OK:
        return "done";
    case LIFSTREAM_ERROR_IDENTITY:
        return "no core at this address, or one whose registers are others";
    case LIFSTREAM_ERROR_NETWORK:
        return "the core holds another network";
    case LIFSTREAM_ERROR_ARGUMENT:
        return "an argument is out of bounds, or a buffer too small";
    case LIFSTREAM_ERROR_LINK:
        return "packets could not be exchanged";
    case LIFSTREAM_ERROR_TIMEOUT:
        return "no answer in time";
    case LIFSTREAM_ERROR_REPLY:
        return "the answer is none to this command";
    case LIFSTREAM_ERROR_COMMAND:
        return "this network does not know the command";
    case LIFSTREAM_ERROR_LENGTH:
        return "the core refused the packet's length";
    case LIFSTREAM_ERROR_VALUE:
        return "the core refused a value";
    }
    return "unknown";
}
