/* SPDX-License-Identifier: GPL-2.0 */
/*
 * VRAM of a GPU made of memory, included by nouveau_dmem.c: a chunk of device
 * private pages without a buffer object behind it, and a copy engine that is a
 * memcpy() and done at once. All that lies between runs as it is.
 */
#include "nouveau_fence.h"
#include "nouveau_test_gpu.h"

#include <linux/vmalloc.h>

static void *test_addr(struct test_gpu *gpu, enum nouveau_aper aper, u64 addr)
{
	/* Without an IOMMU, what the device sees is the physical address. */
	return aper == NOUVEAU_APER_VRAM ? gpu->vram + addr : phys_to_virt(addr);
}

static int test_copy(struct nouveau_drm *drm, u64 npages,
		     enum nouveau_aper dst_aper, u64 dst_addr,
		     enum nouveau_aper src_aper, u64 src_addr)
{
	struct test_gpu *gpu = container_of(drm, struct test_gpu, drm);

	if (gpu->on_copy)
		gpu->on_copy(gpu);
	if (gpu->fail_copy)
		return -EBUSY;
	memcpy(test_addr(gpu, dst_aper, dst_addr),
	       test_addr(gpu, src_aper, src_addr), npages * PAGE_SIZE);
	return 0;
}

static int test_clear(struct nouveau_drm *drm, u32 length,
		      enum nouveau_aper dst_aper, u64 dst_addr)
{
	struct test_gpu *gpu = container_of(drm, struct test_gpu, drm);

	if (gpu->on_copy)
		gpu->on_copy(gpu);
	memset(test_addr(gpu, dst_aper, dst_addr), 0, length);
	return 0;
}

static int test_fence_emit(struct nouveau_fence *fence)
{
	return 0;
}

static u32 test_fence_read(struct nouveau_channel *chan)
{
	return ((struct nouveau_fence_chan *)chan->fence)->sequence;
}

static int test_fence_new(struct test_gpu *gpu)
{
	struct nouveau_fence_chan *fctx = kzalloc(sizeof(*fctx), GFP_KERNEL);

	if (!fctx)
		return -ENOMEM;
	kref_init(&fctx->fence_ref);
	spin_lock_init(&fctx->lock);
	INIT_LIST_HEAD(&fctx->pending);
	fctx->emit = test_fence_emit;
	fctx->read = test_fence_read;
	gpu->chan.drm = &gpu->drm;
	gpu->chan.fence = fctx;
	gpu->drm.fence = &gpu->fence;
	return 0;
}

static int test_chunk_new(struct nouveau_drm *drm,
			  struct nouveau_dmem_chunk *chunk)
{
	struct resource *res;
	struct page *page;
	void *ptr;
	int i;

	res = request_free_mem_region(&iomem_resource, DMEM_CHUNK_SIZE,
				      "nouveau-test");
	if (IS_ERR(res))
		return PTR_ERR(res);
	chunk->dmem = drm->dmem;
	chunk->pagemap.type = MEMORY_DEVICE_PRIVATE;
	chunk->pagemap.range.start = res->start;
	chunk->pagemap.range.end = res->end;
	chunk->pagemap.nr_range = 1;
	chunk->pagemap.ops = &nouveau_dmem_pagemap_ops;
	chunk->pagemap.owner = drm->dev;
	ptr = memremap_pages(&chunk->pagemap, NUMA_NO_NODE);
	if (IS_ERR(ptr)) {
		release_mem_region(res->start, resource_size(res));
		return PTR_ERR(ptr);
	}
	page = pfn_to_page(res->start >> PAGE_SHIFT);
	for (i = 0; i < DMEM_CHUNK_NPAGES; i++, page++) {
		page->zone_device_data = drm->dmem->free_pages;
		drm->dmem->free_pages = page;
	}
	list_add(&chunk->list, &drm->dmem->chunks);
	return 0;
}

/* Give the GPU 2 MiB of VRAM. When they are used up, there is no more. */
int test_gpu_vram_new(struct test_gpu *gpu)
{
	struct nouveau_drm *drm = &gpu->drm;
	struct nouveau_dmem_chunk *chunk = kzalloc(sizeof(*chunk), GFP_KERNEL);
	int ret = -ENOMEM;

	gpu->vram = vzalloc(DMEM_CHUNK_SIZE);
	if (chunk)
		chunk->bo = kzalloc(sizeof(*chunk->bo), GFP_KERNEL);
	if (!gpu->vram || !chunk || !chunk->bo || test_fence_new(gpu))
		goto out;
	drm->ttm.copy.oclass = PASCAL_DMA_COPY_A;
	drm->ttm.chan = &gpu->chan;
	nouveau_dmem_init(drm);
	if (!drm->dmem)
		goto out_fence;
	drm->dmem->migrate.copy_func = test_copy;
	drm->dmem->migrate.clear_func = test_clear;
	ret = test_chunk_new(drm, chunk);
	if (!ret)
		return 0;
	kfree(drm->dmem);
	drm->dmem = NULL;
out_fence:
	nouveau_fence_context_free(gpu->chan.fence);
out:
	if (chunk)
		kfree(chunk->bo);
	kfree(chunk);
	vfree(gpu->vram);
	gpu->vram = NULL;
	return ret;
}

/* As nouveau_dmem_fini(): what processes have there comes home. */
void test_gpu_vram_del(struct test_gpu *gpu)
{
	struct nouveau_dmem *dmem = gpu->drm.dmem;
	struct nouveau_dmem_chunk *chunk;

	if (!gpu->vram)
		return;
	nouveau_dmem_evict(dmem);
	chunk = list_first_entry(&dmem->chunks, typeof(*chunk), list);
	kfree(chunk->bo);
	chunk->bo = NULL;
	nouveau_dmem_leave(dmem);
	nouveau_fence_context_free(gpu->chan.fence);
	vfree(gpu->vram);
	gpu->vram = NULL;
}

/* What the GPU's page table has at @pte, which is in VRAM. */
struct page *test_gpu_vram_page(struct test_gpu *gpu, u64 pte)
{
	struct nouveau_dmem_chunk *chunk =
		list_first_entry(&gpu->drm.dmem->chunks, typeof(*chunk), list);

	return pfn_to_page(PHYS_PFN(chunk->pagemap.range.start + pte));
}

/* For how long the CPU tries to get a page. Returns what it was before. */
unsigned long test_gpu_set_fault_timeout(unsigned long timeout)
{
	return xchg(&nouveau_dmem_fault_timeout, timeout);
}
