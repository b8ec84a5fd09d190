/* Packets through an AXI DMA (AMD PG021, direct register mode, not scatter-gather) between memory and the core's
 * streams. */
#ifndef LIFSTREAM_AXI_DMA_H
#define LIFSTREAM_AXI_DMA_H

#include "lifstream.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    lifstream_bus registers;    /* of the DMA */
    uint32_t max_bytes;         /* of a transfer, as its length register was configured: 2**width - 1 */
    uint32_t polls;             /* reads of a status register until a transfer is given up */
    /* The three may be NULL: where caches are coherent, or off, and buses see memory at its own addresses. */
    void (*flush)(const void *memory, size_t length);       /* write back what caches hold of the memory */
    void (*invalidate)(const void *memory, size_t length);  /* forget it */
    uint64_t (*address)(const void *memory);                /* of the memory, as the DMA sees it */
} lifstream_axi_dma;

/* Reset the DMA, at the start and after an error. */
lifstream_result lifstream_axi_dma_reset(const lifstream_axi_dma *dma);

/* For `link` of a device. The buffers of the device should be aligned to lines of the cache. */
lifstream_link lifstream_axi_dma_link(const lifstream_axi_dma *dma);

#ifdef __cplusplus
}
#endif

#endif
