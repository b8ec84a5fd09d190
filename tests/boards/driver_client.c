/* A client of the C driver: what a program on bare metal would do, on whatever is behind two windows of registers. */
#include <string.h>

#include "core.h"
#include "lifstream_axi_dma.h"

static uint8_t command[CORE_COMMAND_BUFFER];
static uint8_t reply[CORE_REPLY_BUFFER];

static lifstream_result ask(const lifstream_device *device, const uint8_t *images, const uint8_t *labels,
                            uint32_t count, int32_t *predictions, int64_t *responses)
{
    const lifstream_network *network = device->network;
    lifstream_result result = LIFSTREAM_OK;
    lifstream_answer answer;
    uint32_t image, neuron;

    for (image = 0; image < count && result == LIFSTREAM_OK; image++) {
        const uint8_t *sample = images + (size_t)image * network->sample_bytes;

        if (labels == NULL)
            result = lifstream_infer(device, sample, network->sample_bytes, &answer);
        else
            result = lifstream_train(device, sample, network->sample_bytes, labels[image], &answer);
        if (result != LIFSTREAM_OK)
            break;
        predictions[image] = answer.prediction;
        for (neuron = 0; neuron < network->responding; neuron++)
            responses[(size_t)image * network->responding + neuron] = lifstream_response(network, &answer, neuron);
    }
    return result;
}

/* What the core refuses, and what the driver does not even send. */
static int refuses(const lifstream_device *device, const uint8_t *image)
{
    const lifstream_network *network = device->network;
    lifstream_device small = *device;
    lifstream_answer answer;
    const uint8_t *bytes;

    small.command_size = 3;
    return lifstream_infer(device, image, network->sample_bytes - 1, &answer) == LIFSTREAM_ERROR_ARGUMENT &&
           lifstream_infer(&small, image, network->sample_bytes, &answer) == LIFSTREAM_ERROR_ARGUMENT &&
           lifstream_identify(&small) == LIFSTREAM_ERROR_ARGUMENT &&
           lifstream_train(device, image, network->sample_bytes, network->classes, &answer) ==
               LIFSTREAM_ERROR_ARGUMENT &&
           lifstream_read_thresholds(device, &bytes) == LIFSTREAM_ERROR_ARGUMENT &&
           lifstream_set_rate_shift(device, 255) == LIFSTREAM_ERROR_VALUE;
}

int play(uint32_t (*read)(void *, uint32_t), void (*write)(void *, uint32_t, uint32_t), void *core, void *dma_base,
         uint32_t rate_shift, const uint32_t *seeds, const uint8_t *weights, const uint8_t *images, const uint8_t *labels, uint32_t count,
         int32_t *predictions, int64_t *responses, int32_t *read_back, uint64_t *counters)
{
    const lifstream_network *network = &core_network;
    lifstream_axi_dma dma;
    lifstream_device device;
    lifstream_statistics statistics;
    const uint8_t *learnt;
    lifstream_result result;
    uint32_t index;

    memset(&dma, 0, sizeof dma);
    dma.registers.read = read;
    dma.registers.write = write;
    dma.registers.context = dma_base;
    dma.max_bytes = (1u << 23) - 1;
    dma.polls = 100000;
    device.registers.read = read;
    device.registers.write = write;
    device.registers.context = core;
    device.link = lifstream_axi_dma_link(&dma);
    device.network = network;
    device.command = command;
    device.command_size = sizeof command;
    device.reply = reply;
    device.reply_size = sizeof reply;

    if ((result = lifstream_identify(&device)) != LIFSTREAM_OK ||
        (result = lifstream_axi_dma_reset(&dma)) != LIFSTREAM_OK ||
        (result = lifstream_reset(&device)) != LIFSTREAM_OK ||
        (result = lifstream_load_weights(&device, weights, network->weights_bytes)) != LIFSTREAM_OK ||
        (result = lifstream_set_rate_shift(&device, rate_shift)) != LIFSTREAM_OK ||
        (result = lifstream_seed(&device, seeds)) != LIFSTREAM_OK ||
        (result = lifstream_clear_counters(&device)) != LIFSTREAM_OK ||
        (result = ask(&device, images, NULL, count, predictions, responses)) != LIFSTREAM_OK ||
        (result = ask(&device, images, labels, count, predictions + count,
                      responses + (size_t)count * network->responding)) != LIFSTREAM_OK ||
        (result = lifstream_get_statistics(&device, &statistics)) != LIFSTREAM_OK)
        return result;
    if (statistics.rate_shift != rate_shift)
        return 1;
    if (!lifstream_is_idle(&device))
        return 2;
    for (index = 0; index < LIFSTREAM_COUNTERS; index++) {
        counters[index] = statistics.counters[index];
        counters[LIFSTREAM_COUNTERS + index] = lifstream_counter(&device, index);
    }
    if ((result = lifstream_read_weights(&device, &learnt)) != LIFSTREAM_OK)
        return result;
    for (index = 0; index < network->weights_bytes / network->weight_bytes; index++)
        read_back[index] = lifstream_weight(network, learnt, index);
    if (!refuses(&device, images))
        return 3;
    return LIFSTREAM_OK;
}

/* Registers in memory, to see where accesses of the base address go. */
int mmio_works(void)
{
    static uint32_t memory[4] = {1, 2, 3, 4};
    lifstream_bus bus = lifstream_mmio(memory);

    bus.write(bus.context, 8, 30);
    return bus.read(bus.context, 4) == 2 && bus.read(bus.context, 8) == 30 && memory[2] == 30;
}
