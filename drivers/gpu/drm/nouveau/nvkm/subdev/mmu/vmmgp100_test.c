// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the page tables that PFNMAP and PFNCLR write for GP100, in
 * memory and with nothing of the GPU but what it takes to get there: a register
 * space, a clock, and instance memory.
 */
#include <linux/dma-mapping.h>

/* The code under test once more, with DMA mappings that can be counted. */
static dma_addr_t test_dma_map_page(struct device *dev, struct page *page,
				    size_t offset, size_t size,
				    enum dma_data_direction dir);
static void test_dma_unmap_page(struct device *dev, dma_addr_t addr,
				size_t size, enum dma_data_direction dir);

#undef dma_map_page
#define dma_map_page		test_dma_map_page
#undef dma_unmap_page
#define dma_unmap_page		test_dma_unmap_page
#define gp100_vmm_desc_12	test_gp100_vmm_desc_12
#define gp100_vmm_desc_16	test_gp100_vmm_desc_16
#define gp100_vmm_flush		test_gp100_vmm_flush
#define gp100_vmm_invalidate_pdb test_gp100_vmm_invalidate_pdb
#define gp100_vmm_join		test_gp100_vmm_join
#define gp100_vmm_mthd		test_gp100_vmm_mthd
#define gp100_vmm_new		test_gp100_vmm_new
#define gp100_vmm_new_		test_gp100_vmm_new_
#define gp100_vmm_valid		test_gp100_vmm_valid
#include "vmmgp100.c"

#include "nouveau_test_gpu.h"
#include "ummu.h"
#include "uvmm.h"

#include <core/client.h>
#include <nvif/if000c.h>
#include <nvif/ioctl.h>
#include <subdev/instmem/priv.h>
#include <subdev/timer/priv.h>

#include <kunit/test.h>
#include <linux/ktime.h>
#include <linux/platform_device.h>
#include <linux/vmalloc.h>

/* What the MMU reads in an entry. */
#define PTE_VALID	BIT_ULL(0)
#define PTE_COHERENT	(2ULL << 1)
#define PTE_VOL		BIT_ULL(3)
#define PTE_RO		BIT_ULL(6)
#define PTE_NO_ATOMICS	BIT_ULL(7)

#define V	NVKM_VMM_PFN_V
#define W	NVKM_VMM_PFN_W
#define A	NVKM_VMM_PFN_A
#define VRAM	NVKM_VMM_PFN_VRAM
#define FLAGS	(V | W | A | VRAM)

#define SMALL	12
#define LARGE	21
#define LARGE_SIZE	BIT_ULL(LARGE)
#define REGISTERS	0x101000
#define FLUSH		0x100cbc

#define UNMANAGED	BIT_ULL(40)
#define ADDR		BIT_ULL(32)

struct vmm_test {
	struct platform_device *pdev;
	struct nvkm_device device;
	struct nvkm_timer timer;
	struct nvkm_instmem imem;
	struct nvkm_mmu *mmu;
	struct nvkm_vmm *vmm;
	struct page *page; /* 2 MiB of them */
};

struct test_instobj {
	struct nvkm_instobj base;
	struct nvkm_instmem *imem;
	u32 size;
	u32 *data;
};

/* Sums over the DMA mappings that have not been returned. */
static struct {
	long count, size;
	dma_addr_t addr;
} dma;

static dma_addr_t test_dma_map_page(struct device *dev, struct page *page,
				    size_t offset, size_t size,
				    enum dma_data_direction dir)
{
	dma_addr_t addr = dma_map_page_attrs(dev, page, offset, size, dir, 0);

	dma.count++;
	dma.size += size;
	dma.addr += addr;
	return addr;
}

static void test_dma_unmap_page(struct device *dev, dma_addr_t addr,
				size_t size, enum dma_data_direction dir)
{
	dma.count--;
	dma.size -= size;
	dma.addr -= addr;
	dma_unmap_page_attrs(dev, addr, size, dir, 0);
}

static struct test_instobj *test_instobj(struct nvkm_memory *memory)
{
	return container_of(memory, struct test_instobj, base.memory);
}

static enum nvkm_memory_target test_target(struct nvkm_memory *memory)
{
	return NVKM_MEM_TARGET_VRAM;
}

static u64 test_addr(struct nvkm_memory *memory)
{
	return __pa(test_instobj(memory)->data);
}

static u64 test_size(struct nvkm_memory *memory)
{
	return test_instobj(memory)->size;
}

/* No mapping: everything goes through rd32 and wr32. */
static void __iomem *test_acquire(struct nvkm_memory *memory)
{
	return NULL;
}

static void test_release(struct nvkm_memory *memory)
{
}

static void *test_dtor(struct nvkm_memory *memory)
{
	struct test_instobj *iobj = test_instobj(memory);

	nvkm_instobj_dtor(iobj->imem, &iobj->base);
	kfree(iobj->data);
	return iobj;
}

static const struct nvkm_memory_func test_memory = {
	.dtor = test_dtor,
	.target = test_target,
	.addr = test_addr,
	.size = test_size,
	.acquire = test_acquire,
	.release = test_release,
};

static u32 test_rd32(struct nvkm_memory *memory, u64 offset)
{
	return test_instobj(memory)->data[offset / 4];
}

static void test_wr32(struct nvkm_memory *memory, u64 offset, u32 data)
{
	test_instobj(memory)->data[offset / 4] = data;
}

static const struct nvkm_memory_ptrs test_ptrs = {
	.rd32 = test_rd32,
	.wr32 = test_wr32,
};

static int test_memory_new(struct nvkm_instmem *imem, u32 size, u32 align,
			   bool zero, struct nvkm_memory **pmemory)
{
	struct test_instobj *iobj = kzalloc(sizeof(*iobj), GFP_KERNEL);

	if (!iobj)
		return -ENOMEM;
	*pmemory = &iobj->base.memory;
	nvkm_instobj_ctor(&test_memory, imem, &iobj->base);
	iobj->base.memory.ptrs = &test_ptrs;
	iobj->imem = imem;
	iobj->size = size;
	iobj->data = kzalloc(size, GFP_KERNEL);
	return iobj->data ? 0 : -ENOMEM;
}

static const struct nvkm_instmem_func test_instmem = {
	.memory_new = test_memory_new,
	.zero = true,
};

static u64 test_timer_read(struct nvkm_timer *timer)
{
	return ktime_get_ns();
}

static const struct nvkm_timer_func test_timer = {
	.read = test_timer_read,
};

static int vmm_test_init(struct kunit *test)
{
	struct gp100_vmm_v0 args = { .fault_replay = 1 };
	struct vmm_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);
	void *registers = vzalloc(REGISTERS);

	memset(&dma, 0, sizeof(dma));
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	test->priv = t;
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, registers);
	t->device.pri = (void __iomem *)registers;
	t->pdev = platform_device_register_simple("nouveau-test",
						  PLATFORM_DEVID_AUTO, NULL, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(t->pdev));
	KUNIT_ASSERT_EQ(test, 0, dma_coerce_mask_and_coherent(&t->pdev->dev,
							      DMA_BIT_MASK(64)));
	t->device.dev = &t->pdev->dev;
	/* Flushes find room in the queue, and are done at once. */
	nvkm_wr32(&t->device, 0x100c80, 0x00ff8000);

	t->timer.func = &test_timer;
	t->timer.subdev.device = &t->device;
	t->device.timer = &t->timer;
	nvkm_instmem_ctor(&test_instmem, &t->device, NVKM_SUBDEV_INSTMEM,
			  &t->imem);
	t->device.imem = &t->imem;

	KUNIT_ASSERT_EQ(test, 0, gp100_mmu_new(&t->device, NVKM_SUBDEV_MMU,
					       &t->mmu));
	KUNIT_ASSERT_EQ(test, 0, gp100_vmm_new(t->mmu, true, UNMANAGED,
					       LARGE_SIZE, &args, sizeof(args),
					       NULL, "test", &t->vmm));
	t->page = alloc_pages(GFP_KERNEL, LARGE - PAGE_SHIFT);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t->page);
	return 0;
}

/* There are so many DMA mappings; without any, what came went as it was. */
static void expect_dma(struct kunit *test, long count, long size)
{
	KUNIT_EXPECT_EQ(test, dma.count, count);
	KUNIT_EXPECT_EQ(test, dma.size, size);
	if (!count)
		KUNIT_EXPECT_EQ(test, dma.addr, (dma_addr_t)0);
}

static void vmm_test_exit(struct kunit *test)
{
	struct vmm_test *t = test->priv;
	struct nvkm_subdev *mmu;

	if (t->vmm)
		nvkm_vmm_unref(&t->vmm);
	expect_dma(test, 0, 0);
	if (t->mmu) {
		nvkm_mmu_ptc_dump(t->mmu);
		mmu = &t->mmu->subdev;
		nvkm_subdev_del(&mmu);
		/* Not a page table is left behind. */
		KUNIT_EXPECT_TRUE(test, list_empty(&t->imem.list));
	}
	if (t->page)
		__free_pages(t->page, LARGE - PAGE_SHIFT);
	vfree((void __force *)t->device.pri);
	platform_device_unregister(t->pdev);
}

static u64 read_pte(struct nvkm_mmu_pt *pt, u32 offset)
{
	return nvkm_ro32(pt->memory, pt->base + offset) |
	       (u64)nvkm_ro32(pt->memory, pt->base + offset + 4) << 32;
}

/* The table that has the large entries, and points to those of the small ones. */
static struct nvkm_vmm_pt *pd0(struct vmm_test *t, u64 addr)
{
	struct nvkm_vmm_pt *pt = t->vmm->pd;

	pt = pt->pde[addr >> 47 & 3];
	if (!NVKM_VMM_PDE_INVALID(pt))
		pt = pt->pde[addr >> 38 & 511];
	if (!NVKM_VMM_PDE_INVALID(pt))
		pt = pt->pde[addr >> 29 & 511];
	return NVKM_VMM_PDE_INVALID(pt) ? NULL : pt;
}

/* The entry of that size for an address, 0 if there is no table for it. */
static u64 pte(struct vmm_test *t, u8 shift, u64 addr)
{
	struct nvkm_vmm_pt *pt = pd0(t, addr);

	if (!pt)
		return 0;
	if (shift == LARGE)
		return read_pte(pt->pt[0], (addr >> LARGE & 255) * 16);
	pt = pt->pde[addr >> LARGE & 255];
	if (NVKM_VMM_PDE_INVALID(pt) || !pt->pt[1])
		return 0;
	return read_pte(pt->pt[1], (addr >> SMALL & 511) * 8);
}

static u64 map(struct kunit *test, u8 shift, u64 addr, u64 flags)
{
	struct vmm_test *t = test->priv;
	u64 pfn = page_to_phys(t->page) | flags;

	mutex_lock(&t->vmm->mutex);
	KUNIT_EXPECT_EQ(test, 0, nvkm_vmm_pfn_map(t->vmm, shift, addr,
						  1ULL << shift, &pfn));
	mutex_unlock(&t->vmm->mutex);
	return pfn;
}

static void unmap(struct kunit *test, u64 addr, u64 size)
{
	struct vmm_test *t = test->priv;

	mutex_lock(&t->vmm->mutex);
	KUNIT_EXPECT_EQ(test, 0, nvkm_vmm_pfn_unmap(t->vmm, addr, size));
	mutex_unlock(&t->vmm->mutex);
}

/* Returns whether the GPU's TLB has been flushed. */
static bool no_atomics(struct kunit *test, u64 addr, u64 size)
{
	struct vmm_test *t = test->priv;

	nvkm_wr32(&t->device, FLUSH, 0);
	mutex_lock(&t->vmm->mutex);
	KUNIT_EXPECT_EQ(test, 0, nvkm_vmm_pfn_no_atomics(t->vmm, addr, size));
	mutex_unlock(&t->vmm->mutex);
	return nvkm_rd32(&t->device, FLUSH);
}

static u64 want(struct vmm_test *t, u64 flags)
{
	u64 entry = page_to_phys(t->page) >> 4 | PTE_VALID;

	if (!(flags & V))
		return 0;
	if (!(flags & VRAM))
		entry |= PTE_COHERENT | PTE_VOL;
	if (!(flags & W))
		entry |= PTE_RO;
	if (!(flags & A))
		entry |= PTE_NO_ATOMICS;
	return entry;
}

static void all_flags(struct kunit *test, u8 shift)
{
	struct vmm_test *t = test->priv;
	bool host;
	u64 flags;

	for (flags = 0; flags <= FLAGS; flags++) {
		if (flags & ~FLAGS)
			continue;
		host = (flags & (V | VRAM)) == V;
		map(test, shift, ADDR, flags);
		KUNIT_EXPECT_EQ(test, pte(t, shift, ADDR), want(t, flags));
		expect_dma(test, host, host ? 1L << shift : 0);
		nvkm_wr32(&t->device, FLUSH, 0);
		unmap(test, ADDR, 1ULL << shift);
		expect_dma(test, 0, 0);
		/* The last entry takes its tables with it. */
		KUNIT_EXPECT_EQ(test, pte(t, shift, ADDR), 0ULL);
		if (flags & V)
			KUNIT_EXPECT_NE(test, nvkm_rd32(&t->device, FLUSH), 0U);
	}
}

static void small_entries(struct kunit *test)
{
	all_flags(test, SMALL);
}

static void large_entries(struct kunit *test)
{
	all_flags(test, LARGE);
}

static void no_atomics_of(struct kunit *test, u8 shift)
{
	struct vmm_test *t = test->priv;
	u64 flags;

	for (flags = 0; flags <= FLAGS; flags++) {
		bool lose = (flags & (V | A | VRAM)) == (V | A);

		if (flags & ~FLAGS)
			continue;
		map(test, shift, ADDR, flags);
		KUNIT_EXPECT_EQ(test, no_atomics(test, ADDR, 1ULL << shift),
				lose);
		KUNIT_EXPECT_EQ(test, pte(t, shift, ADDR),
				want(t, lose ? flags & ~A : flags));
		unmap(test, ADDR, 1ULL << shift);
	}
}

static void small_lose_atomics(struct kunit *test)
{
	no_atomics_of(test, SMALL);
}

static void large_lose_atomics(struct kunit *test)
{
	no_atomics_of(test, LARGE);
}

/* Small entries lose them one by one, a large one as a whole. */
static void lose_atomics_in_part(struct kunit *test)
{
	struct vmm_test *t = test->priv;
	u64 large = ADDR + LARGE_SIZE;
	int i;

	for (i = 0; i < 4; i++)
		map(test, SMALL, ADDR + i * PAGE_SIZE, V | W | A);
	map(test, LARGE, large, V | W | A);
	no_atomics(test, ADDR + PAGE_SIZE, 2 * PAGE_SIZE);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, pte(t, SMALL, ADDR + i * PAGE_SIZE),
				want(t, V | W | (i == 0 || i == 3 ? A : 0)));
	KUNIT_EXPECT_EQ(test, pte(t, LARGE, large), want(t, V | W | A));
	no_atomics(test, large + PAGE_SIZE, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, pte(t, LARGE, large), want(t, V | W));
	/* All of it, and what is not mapped between. */
	unmap(test, ADDR, PAGE_SIZE);
	map(test, SMALL, ADDR, V | W | A);
	map(test, SMALL, large + 2 * LARGE_SIZE, V | W | A);
	KUNIT_EXPECT_TRUE(test, no_atomics(test, 0, UNMANAGED));
	KUNIT_EXPECT_EQ(test, pte(t, SMALL, ADDR), want(t, V | W));
	KUNIT_EXPECT_EQ(test, pte(t, SMALL, large + 2 * LARGE_SIZE),
			want(t, V | W));
	KUNIT_EXPECT_FALSE(test, no_atomics(test, 0, UNMANAGED));
	/* Five small ones, a large one, and their DMA mappings still. */
	expect_dma(test, 6, LARGE_SIZE + 5 * PAGE_SIZE);
	unmap(test, 0, UNMANAGED);
	expect_dma(test, 0, 0);
}

static void large_cleared_by_part(struct kunit *test)
{
	struct vmm_test *t = test->priv;

	map(test, LARGE, ADDR, V | W);
	map(test, LARGE, ADDR + LARGE_SIZE, V | W);
	unmap(test, ADDR + PAGE_SIZE, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, pte(t, LARGE, ADDR) & PTE_VALID, 0ULL);
	expect_dma(test, 1, LARGE_SIZE);
	KUNIT_EXPECT_EQ(test, pte(t, LARGE, ADDR + LARGE_SIZE), want(t, V | W));
	unmap(test, ADDR, 2 * LARGE_SIZE);
	KUNIT_EXPECT_FALSE(test, pd0(t, ADDR));
}

/* A small page next to a large one, either way round. */
static void small_beside_large(struct kunit *test)
{
	struct vmm_test *t = test->priv;

	map(test, LARGE, ADDR, V | W);
	map(test, SMALL, ADDR + LARGE_SIZE, V | W);
	map(test, SMALL, ADDR - PAGE_SIZE, V | W);
	map(test, LARGE, ADDR - 2 * LARGE_SIZE, V | W);
	unmap(test, ADDR - 2 * LARGE_SIZE, 4 * LARGE_SIZE);
	KUNIT_EXPECT_FALSE(test, pd0(t, ADDR));
	KUNIT_EXPECT_FALSE(test, pd0(t, ADDR - 2 * LARGE_SIZE));
}

static void unmanaged_is_refused(struct kunit *test)
{
	struct vmm_test *t = test->priv;
	u64 pfn = page_to_phys(t->page) | V | W;

	mutex_lock(&t->vmm->mutex);
	KUNIT_EXPECT_EQ(test, -ENOENT, nvkm_vmm_pfn_map(t->vmm, SMALL,
							UNMANAGED, PAGE_SIZE,
							&pfn));
	mutex_unlock(&t->vmm->mutex);
	KUNIT_EXPECT_FALSE(test, pd0(t, UNMANAGED));
}

/* What is still mapped goes with the address space: see vmm_test_exit(). */
static void dropped_with_mappings(struct kunit *test)
{
	map(test, SMALL, ADDR, V | W | A);
	map(test, LARGE, ADDR + LARGE_SIZE, V | W);
	map(test, SMALL, UNMANAGED + LARGE_SIZE, V);
}

/* An address space with an object, as a client has it; @route says whose */
static struct nvkm_object *uvmm_new(struct kunit *test, u8 route)
{
	struct vmm_test *t = test->priv;
	struct nvkm_client *client = kunit_kzalloc(test, sizeof(*client),
						   GFP_KERNEL);
	struct nvkm_ummu ummu = { .mmu = t->mmu };
	struct nvkm_oclass oclass = {
		.parent = &ummu.object,
		.client = client,
		.route = route,
	};
	struct nvif_vmm_v0 args = {
		.managed = true,
		.addr = UNMANAGED,
		.size = LARGE_SIZE,
	};
	struct nvkm_object *object = NULL;

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, client);
	KUNIT_ASSERT_EQ(test, 0, nvkm_uvmm_new(&oclass, &args, sizeof(args),
					       &object));
	return object;
}

static int pfnmap(struct vmm_test *t, struct nvkm_object *object, u64 flags)
{
	u64 buffer[sizeof(struct nvif_vmm_pfnmap_v0) / sizeof(u64) + 1] = {};
	struct nvif_vmm_pfnmap_v0 *args = (void *)buffer;

	args->page = SMALL;
	args->addr = ADDR;
	args->size = 1 << SMALL;
	args->phys[0] = page_to_phys(t->page) | flags;
	return object->func->mthd(object, NVIF_VMM_V0_PFNMAP, buffer,
				  sizeof(buffer));
}

static int pfnclr(struct nvkm_object *object, bool atomics)
{
	struct nvif_vmm_pfnclr_v0 args = {
		.atomics = atomics,
		.addr = ADDR,
		.size = 1 << SMALL,
	};

	return object->func->mthd(object, NVIF_VMM_V0_PFNCLR, &args,
				  sizeof(args));
}

static void called_by_the_kernel(struct kunit *test)
{
	struct vmm_test *t = test->priv;
	struct nvkm_object *object = uvmm_new(test, NVIF_IOCTL_V0_OWNER_NVIF);
	struct nvkm_vmm *vmm = t->vmm;

	t->vmm = nvkm_uvmm(object)->vmm;
	KUNIT_EXPECT_EQ(test, 0, pfnmap(t, object, V | W | A));
	KUNIT_EXPECT_EQ(test, pte(t, SMALL, ADDR), want(t, V | W | A));
	KUNIT_EXPECT_EQ(test, 0, pfnclr(object, true));
	KUNIT_EXPECT_EQ(test, pte(t, SMALL, ADDR), want(t, V | W));
	KUNIT_EXPECT_EQ(test, 0, pfnclr(object, false));
	KUNIT_EXPECT_EQ(test, pte(t, SMALL, ADDR), (u64)0);
	t->vmm = vmm;
	nvkm_object_del(&object);
}

/* Who may not name physical addresses does not learn that there is such a call. */
static void called_by_user_space(struct kunit *test)
{
	struct vmm_test *t = test->priv;
	struct nvkm_object *object = uvmm_new(test, NVIF_IOCTL_V0_OWNER_ANY);
	struct nvkm_vmm *vmm = t->vmm;

	t->vmm = nvkm_uvmm(object)->vmm;
	KUNIT_EXPECT_EQ(test, -ENOENT, pfnmap(t, object, V | W | A));
	KUNIT_EXPECT_EQ(test, -ENOENT, pfnclr(object, false));
	KUNIT_EXPECT_EQ(test, pte(t, SMALL, ADDR), (u64)0);
	t->vmm = vmm;
	nvkm_object_del(&object);
}

static struct kunit_case vmm_test_cases[] = {
	KUNIT_CASE(small_entries),
	KUNIT_CASE(large_entries),
	KUNIT_CASE(small_lose_atomics),
	KUNIT_CASE(large_lose_atomics),
	KUNIT_CASE(lose_atomics_in_part),
	KUNIT_CASE(large_cleared_by_part),
	KUNIT_CASE(small_beside_large),
	KUNIT_CASE(unmanaged_is_refused),
	KUNIT_CASE(dropped_with_mappings),
	KUNIT_CASE(called_by_the_kernel),
	KUNIT_CASE(called_by_user_space),
	{}
};

struct kunit_suite gp100_vmm_test_suite = {
	.name = "nouveau-gp100-vmm",
	.init = vmm_test_init,
	.exit = vmm_test_exit,
	.test_cases = vmm_test_cases,
};
