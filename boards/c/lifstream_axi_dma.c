#include "lifstream_axi_dma.h"

/* Registers of the two channels, PG021 "Register Space". */
#define MM2S 0x00   /* memory to stream */
#define S2MM 0x30   /* stream to memory */
#define CONTROL 0x00
#define STATUS 0x04
#define ADDRESS 0x18
#define ADDRESS_HIGH 0x1C
#define LENGTH 0x28

#define CONTROL_RUN 0x1u
#define CONTROL_RESET 0x4u
#define STATUS_IDLE 0x2u
#define STATUS_ERRORS 0x70u     /* of the DMA itself, of the memory, of the address */

static uint32_t get(const lifstream_axi_dma *dma, uint32_t offset)
{
    return dma->registers.read(dma->registers.context, offset);
}

static void set(const lifstream_axi_dma *dma, uint32_t offset, uint32_t value)
{
    dma->registers.write(dma->registers.context, offset, value);
}

/* The transfer begins with the length, which is written last. */
static void begin(const lifstream_axi_dma *dma, uint32_t channel, const void *memory, size_t length)
{
    const uint64_t address = dma->address != NULL ? dma->address(memory) : (uint64_t)(uintptr_t)memory;

    set(dma, channel + CONTROL, CONTROL_RUN);
    set(dma, channel + ADDRESS, (uint32_t)address);
    set(dma, channel + ADDRESS_HIGH, (uint32_t)(address >> 32));
    set(dma, channel + LENGTH, (uint32_t)length);
}

static lifstream_result finish(const lifstream_axi_dma *dma, uint32_t channel)
{
    uint32_t polls, status;

    for (polls = 0; polls < dma->polls; polls++) {
        status = get(dma, channel + STATUS);
        if ((status & STATUS_ERRORS) != 0)
            return LIFSTREAM_ERROR_LINK;
        if ((status & STATUS_IDLE) != 0)
            return LIFSTREAM_OK;
    }
    return LIFSTREAM_ERROR_TIMEOUT;
}

lifstream_result lifstream_axi_dma_reset(const lifstream_axi_dma *dma)
{
    uint32_t polls;

    set(dma, MM2S + CONTROL, CONTROL_RESET);    /* of both channels */
    for (polls = 0; polls < dma->polls; polls++)
        if ((get(dma, MM2S + CONTROL) & CONTROL_RESET) == 0)
            return LIFSTREAM_OK;
    return LIFSTREAM_ERROR_TIMEOUT;
}

static lifstream_result exchange(void *context, const uint8_t *command, size_t length, uint8_t *reply, size_t size,
                                 size_t *received)
{
    const lifstream_axi_dma *dma = context;
    lifstream_result result;

    if (length > dma->max_bytes)
        return LIFSTREAM_ERROR_ARGUMENT;
    if (size > dma->max_bytes)
        size = dma->max_bytes;
    if (dma->flush != NULL) {
        dma->flush(command, length);
        dma->flush(reply, size);    /* or a line that is written back later would overwrite the answer */
    }
    begin(dma, S2MM, reply, size);
    begin(dma, MM2S, command, length);
    result = finish(dma, MM2S);
    if (result == LIFSTREAM_OK)
        result = finish(dma, S2MM);
    if (result != LIFSTREAM_OK)
        return result;
    if (dma->invalidate != NULL)
        dma->invalidate(reply, size);
    *received = get(dma, S2MM + LENGTH);    /* the bytes that came */
    return LIFSTREAM_OK;
}

lifstream_link lifstream_axi_dma_link(const lifstream_axi_dma *dma)
{
    lifstream_link link;

    link.exchange = exchange;
    link.context = (void *)dma;
    return link;
}
