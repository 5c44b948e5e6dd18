/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The DMA mappings of nouveau_dmem.c, counted. The sum of their addresses tells
 * whether what is unmapped is what has been mapped.
 */
#include "nouveau_test_gpu.h"

#include <linux/dma-mapping.h>

static atomic_t test_dma_count;
static atomic64_t test_dma_sum;

static dma_addr_t test_dma_map_page(struct device *dev, struct page *page,
				    size_t offset, size_t size,
				    enum dma_data_direction dir)
{
	dma_addr_t addr = dma_map_page_attrs(dev, page, offset, size, dir, 0);

	if (!dma_mapping_error(dev, addr)) {
		atomic_inc(&test_dma_count);
		atomic64_add(addr, &test_dma_sum);
	}
	return addr;
}

static void test_dma_unmap_page(struct device *dev, dma_addr_t addr,
				size_t size, enum dma_data_direction dir)
{
	atomic_dec(&test_dma_count);
	atomic64_sub(addr, &test_dma_sum);
	dma_unmap_page_attrs(dev, addr, size, dir, 0);
}

/* Has everything been unmapped that was mapped, and nothing else? */
bool test_gpu_dma_returned(void)
{
	return !atomic_read(&test_dma_count) && !atomic64_read(&test_dma_sum);
}

#undef dma_map_page
#define dma_map_page		test_dma_map_page
#undef dma_unmap_page
#define dma_unmap_page		test_dma_unmap_page
