// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of shared virtual memory, on a GPU made of memory.
 *
 * They run when the module is loaded, in the address space of whoever loads it,
 * and fault on addresses that they have mapped there themselves. Some can tell
 * that memory is used after it has been freed, or freed twice, only by KASAN or
 * by slub_debug=FZP.
 */
#include "nouveau_test_gpu.h"
#include "nouveau_dmem.h"

#include <nvif/class.h>
#include <nvif/if000c.h>
#include <nvif/ifc00d.h>
#include <nvif/notify.h>

#include <kunit/test.h>
#include <linux/anon_inodes.h>
#include <linux/delay.h>
#include <linux/kthread.h>
#include <linux/mman.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/uaccess.h>

#define V	NVIF_VMM_PFNMAP_V0_V
#define W	NVIF_VMM_PFNMAP_V0_W
#define A	NVIF_VMM_PFNMAP_V0_A
#define VRAM	NVIF_VMM_PFNMAP_V0_VRAM
#define VWA	(V | W | A)

#define ENTRIES		16
#define INST		0x1230000ULL
#define UNMANAGED	BIT_ULL(40)
#define UNMANAGED_SIZE	BIT_ULL(30)
#define PAGES		8
#define RW		(PROT_READ | PROT_WRITE)

static struct mm_struct *test_mm;

struct svm_test {
	struct test_gpu *gpu;
	struct test_client client, other;
	unsigned long addr; /* of PAGES pages that have been written to */
};

static unsigned long map(struct kunit *test, unsigned long pages, int prot)
{
	unsigned long addr = vm_mmap(NULL, 0, pages * PAGE_SIZE, prot,
				     MAP_PRIVATE | MAP_ANONYMOUS, 0);

	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	return addr;
}

static void unmap(unsigned long addr, unsigned long pages)
{
	vm_munmap(addr, pages * PAGE_SIZE);
}

static void touch(struct kunit *test, unsigned long addr, unsigned long pages)
{
	for (; pages--; addr += PAGE_SIZE)
		KUNIT_ASSERT_FALSE(test, put_user(1, (int __user *)addr));
}

static int svm_test_init(struct kunit *test)
{
	struct svm_test *t = kunit_kzalloc(test, sizeof(*t), GFP_KERNEL);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t);
	mmget(test_mm);
	kthread_use_mm(test_mm);
	test->priv = t;
	t->gpu = test_gpu_new(ENTRIES);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t->gpu);
	nouveau_svm_init(&t->gpu->drm);
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, t->gpu->drm.svm);

	test_client_ctor(t->gpu, &t->client, INST);
	test_client_ctor(t->gpu, &t->other, INST + 0x100000000000ULL);
	KUNIT_ASSERT_EQ(test, 0, test_client_init(&t->client, UNMANAGED,
						  UNMANAGED_SIZE));
	t->addr = map(test, PAGES, RW);
	touch(test, t->addr, PAGES);
	return 0;
}

static void svm_test_exit(struct kunit *test)
{
	struct svm_test *t = test->priv;

	if (t->gpu && t->gpu->drm.svm) {
		/* True of every test, whatever it does. */
		KUNIT_EXPECT_EQ(test, t->gpu->stats.overwritten, 0ULL);
		KUNIT_EXPECT_EQ(test, t->gpu->stats.clean, 0ULL);
		KUNIT_EXPECT_EQ(test, t->gpu->stats.privileged, 0ULL);
		KUNIT_EXPECT_EQ(test, t->gpu->stats.unmanaged, 0ULL);
		test_client_fini(&t->client);
		test_client_fini(&t->other);
		nouveau_svm_fini(&t->gpu->drm);
		KUNIT_EXPECT_TRUE(test, list_empty(&t->gpu->vmms));
	}
	if (t->addr)
		unmap(t->addr, PAGES);
	mmu_notifier_synchronize();
	if (t->gpu) {
		test_gpu_vram_del(t->gpu);
		test_gpu_del(t->gpu);
	}
	/* After a failed assertion this is another thread, and that one is gone. */
	if (current->flags & PF_KTHREAD) {
		kthread_unuse_mm(test_mm);
		mmput(test_mm);
	}
}

/* Put a fault of the client into the buffer. */
static void fault(struct svm_test *t, unsigned long addr, u8 access)
{
	test_gpu_raise(t->gpu, t->client.inst, addr, access, 3, 5);
}

/* Have the driver handle what is in the buffer. */
static void handle(struct svm_test *t)
{
	test_gpu_interrupt(t->gpu);
	test_gpu_idle(t->gpu);
}

static void fault_now(struct svm_test *t, unsigned long addr, u8 access)
{
	fault(t, addr, access);
	handle(t);
}

static u64 flags(struct svm_test *t, unsigned long addr)
{
	return test_gpu_pte(&t->client, addr) & ~NVIF_VMM_PFNMAP_V0_ADDR;
}

static void expect(struct kunit *test, unsigned long addr, u64 want,
		   u64 replays, u64 cancels)
{
	struct svm_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, flags(t, addr), want);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.replays, replays);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.cancels, cancels);
}

static void svm_needs_a_buffer(struct kunit *test)
{
	struct test_gpu *gpu = test_gpu_new(ENTRIES);

	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, gpu);
	gpu->no_class = true;
	nouveau_svm_init(&gpu->drm);
	KUNIT_EXPECT_FALSE(test, gpu->drm.svm);

	gpu->no_class = false;
	gpu->no_buffer = true;
	nouveau_svm_init(&gpu->drm);
	KUNIT_EXPECT_FALSE(test, gpu->drm.svm);

	gpu->no_buffer = false;
	gpu->drm.client.device.info.family = NV_DEVICE_INFO_V0_VOLTA;
	nouveau_svm_init(&gpu->drm);
	KUNIT_EXPECT_FALSE(test, gpu->drm.svm);
	test_gpu_del(gpu);
}

static void svm_suspends(struct kunit *test)
{
	struct svm_test *t = test->priv;

	KUNIT_EXPECT_TRUE(test, t->gpu->armed);
	nouveau_svm_suspend(&t->gpu->drm);
	KUNIT_EXPECT_FALSE(test, t->gpu->armed);
	fault(t, t->addr, TEST_READ);
	nouveau_svm_resume(&t->gpu->drm);
	test_gpu_idle(t->gpu);
	KUNIT_EXPECT_TRUE(test, t->gpu->armed);
	expect(test, t->addr, V | W, 1, 0);
}

static void svm_once_a_client(struct kunit *test)
{
	struct svm_test *t = test->priv;

	KUNIT_EXPECT_EQ(test, -EBUSY, test_client_init(&t->client, UNMANAGED,
						       UNMANAGED_SIZE));
}

static void read_maps_valid(struct kunit *test)
{
	struct svm_test *t = test->priv;
	unsigned long addr = map(test, 1, PROT_READ);

	fault_now(t, addr, TEST_READ);
	expect(test, addr, V, 1, 0);
	unmap(addr, 1);
	KUNIT_EXPECT_EQ(test, flags(t, addr), 0ULL);
}

static void write_maps_writable(struct kunit *test)
{
	struct svm_test *t = test->priv;
	unsigned long addr = map(test, 1, RW);

	fault_now(t, addr, TEST_WRITE);
	expect(test, addr, V | W, 1, 0);
	unmap(addr, 1);
}

static void atomic_maps_exclusive(struct kunit *test)
{
	struct svm_test *t = test->priv;
	unsigned long addr = map(test, 1, RW);

	fault_now(t, addr, TEST_ATOMIC);
	expect(test, addr, VWA, 1, 0);
	unmap(addr, 1);
	KUNIT_EXPECT_EQ(test, flags(t, addr), 0ULL);
}

static void prefetch_maps_what_is_there(struct kunit *test)
{
	struct svm_test *t = test->priv;
	unsigned long addr = map(test, 1, RW);

	fault_now(t, addr, TEST_PREFETCH);
	expect(test, addr, 0, 1, 0);
	fault_now(t, t->addr, TEST_PREFETCH);
	expect(test, t->addr, V | W, 2, 0);
	unmap(addr, 1);
}

static void unknown_access_is_a_write(struct kunit *test)
{
	struct svm_test *t = test->priv;

	fault_now(t, t->addr, 7);
	expect(test, t->addr, V | W, 1, 0);
}

/* All batches of up to four faults on one page, in every order. */
static void strongest_access_wins(struct kunit *test)
{
	static const u8 rank[] = { 1, 2, 3, 0 };
	static const u64 want[] = { 0, V, V | W, VWA };
	struct svm_test *t = test->priv;
	unsigned long addr, i, n, maps;
	int strongest, j;

	for (n = 1; n <= 4; n++) {
		for (i = 0; i < 1 << (2 * n); i++) {
			addr = map(test, 1, RW);
			strongest = 0;
			for (j = 0; j < n; j++) {
				fault(t, addr, i >> (2 * j) & 3);
				strongest = max_t(int, strongest,
						  rank[i >> (2 * j) & 3]);
			}
			maps = t->gpu->stats.maps;
			handle(t);
			/* A read of what is not there gets the zero page. */
			KUNIT_EXPECT_EQ(test, flags(t, addr), want[strongest]);
			KUNIT_EXPECT_EQ(test, t->gpu->stats.maps, maps + 1ULL);
			unmap(addr, 1);
		}
	}
	KUNIT_EXPECT_EQ(test, t->gpu->stats.cancels, 0ULL);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.replays, 4ULL + 16 + 64 + 256);
}

static void several_addresses(struct kunit *test)
{
	static const u64 want[] = { V | W, V | W, VWA, V | W };
	struct svm_test *t = test->priv;
	int i;

	for (i = PAGES - 1; i >= 0; i--)
		fault(t, t->addr + i * PAGE_SIZE, i & 3);
	handle(t);
	for (i = 0; i < PAGES; i++)
		expect(test, t->addr + i * PAGE_SIZE, want[i & 3], 1, 0);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.maps, (u64)PAGES);
}

/* Multiples of 4 GiB and more apart, where a difference does not fit an int. */
static void addresses_far_apart(struct kunit *test)
{
	static const unsigned long far[] = {
		0x200000000000UL, 0x200100000000UL, 0x2000c0000000UL
	};
	struct svm_test *t = test->priv;
	int i, j;

	for (i = 0; i < ARRAY_SIZE(far); i++)
		KUNIT_ASSERT_EQ(test, far[i],
				vm_mmap(NULL, far[i], PAGE_SIZE, RW,
					MAP_PRIVATE | MAP_ANONYMOUS |
					MAP_FIXED_NOREPLACE, 0));
	for (j = TEST_READ; j <= TEST_ATOMIC; j++)
		for (i = 0; i < ARRAY_SIZE(far); i++)
			fault(t, far[i], j);
	handle(t);
	for (i = 0; i < ARRAY_SIZE(far); i++) {
		expect(test, far[i], VWA, 1, 0);
		unmap(far[i], 1);
	}
	KUNIT_EXPECT_EQ(test, t->gpu->stats.maps, (u64)ARRAY_SIZE(far));
}

static void several_clients(struct kunit *test)
{
	struct svm_test *t = test->priv;
	int i;

	KUNIT_ASSERT_EQ(test, 0, test_client_init(&t->other, UNMANAGED, 0));
	for (i = 0; i < 4; i++) {
		fault(t, t->addr + i * PAGE_SIZE, TEST_WRITE);
		test_gpu_raise(t->gpu, t->other.inst, t->addr + i * PAGE_SIZE,
			       TEST_READ, 0, 0);
	}
	handle(t);
	for (i = 0; i < 4; i++) {
		expect(test, t->addr + i * PAGE_SIZE, V | W, 1, 0);
		KUNIT_EXPECT_TRUE(test, test_gpu_pte(&t->other, t->addr +
						     i * PAGE_SIZE) & V);
	}
	KUNIT_EXPECT_EQ(test, t->gpu->stats.maps, 8ULL);
}

/* As many faults as fit, with the buffer beginning at each of its entries. */
static void buffer_full_and_wrapping(struct kunit *test)
{
	struct svm_test *t = test->priv;
	int i, j;

	for (i = 0; i < ENTRIES; i++) {
		nouveau_svmm_invalidate(t->client.cli.svm.svmm, t->addr,
					t->addr + PAGES * PAGE_SIZE);
		for (j = 0; j < ENTRIES - 1; j++)
			fault(t, t->addr + j % PAGES * PAGE_SIZE, TEST_WRITE);
		handle(t);
		KUNIT_EXPECT_EQ(test, t->gpu->get, t->gpu->put);
		for (j = 0; j < PAGES; j++)
			expect(test, t->addr + j * PAGE_SIZE, V | W, i + 1, 0);
		fault_now(t, t->addr, TEST_READ);
		t->gpu->stats.replays--;
	}
}

static void empty_buffer(struct kunit *test)
{
	struct svm_test *t = test->priv;

	handle(t);
	expect(test, t->addr, 0, 0, 0);
	KUNIT_EXPECT_TRUE(test, t->gpu->armed);
}

static void unknown_instance_is_cancelled(struct kunit *test)
{
	struct svm_test *t = test->priv;

	test_gpu_raise(t->gpu, 0xdead000, t->addr, TEST_WRITE, 0x11, 0x22);
	fault(t, t->addr, TEST_WRITE);
	handle(t);
	expect(test, t->addr, V | W, 1, 1);
	KUNIT_EXPECT_EQ(test, t->gpu->cancel.inst, 0xdead000ULL);
	KUNIT_EXPECT_EQ(test, t->gpu->cancel.gpc, (u8)0x11);
	KUNIT_EXPECT_EQ(test, t->gpu->cancel.client, (u8)0x22);
}

static void unmapped_is_cancelled(struct kunit *test)
{
	struct svm_test *t = test->priv;
	unsigned long addr = map(test, 1, RW);
	int i;

	unmap(addr, 1);
	for (i = TEST_READ; i <= TEST_ATOMIC; i++) {
		fault(t, addr, i);
		fault(t, addr, i);
	}
	fault(t, t->addr, TEST_WRITE);
	handle(t);
	expect(test, addr, 0, 1, 6);
	KUNIT_EXPECT_EQ(test, flags(t, t->addr), V | W);
}

/* What is forbidden to one access is no reason to refuse the others. */
static void read_only(struct kunit *test)
{
	struct svm_test *t = test->priv;
	unsigned long addr = map(test, 1, PROT_READ);

	fault(t, addr, TEST_READ);
	fault(t, addr, TEST_ATOMIC);
	fault(t, addr, TEST_WRITE);
	handle(t);
	expect(test, addr, V, 1, 2);
	unmap(addr, 1);
}

/* Zaps a page between its being made exclusive and its being mapped. */
struct zapper {
	struct mmu_notifier notifier;
	struct work_struct work;
	struct completion done;
	struct file *file;
	unsigned long addr;
	void *owner;
	int times, made;
};

static void zapper_work(struct work_struct *work)
{
	struct zapper *zapper = container_of(work, struct zapper, work);

	unmap_mapping_range(zapper->file->f_mapping, 0, PAGE_SIZE, true);
	complete(&zapper->done);
}

static void zapper_range_end(struct mmu_notifier *mn,
			     const struct mmu_notifier_range *range)
{
	struct zapper *zapper = container_of(mn, struct zapper, notifier);

	if (range->event != MMU_NOTIFY_EXCLUSIVE ||
	    range->owner != zapper->owner || zapper->made++ >= zapper->times)
		return;
	schedule_work(&zapper->work);
	wait_for_completion(&zapper->done);
}

static const struct mmu_notifier_ops zapper_ops = {
	.invalidate_range_end = zapper_range_end,
};

/* The page is private memory over a file: that can be zapped from anywhere. */
static void zapper_start(struct kunit *test, struct zapper *zapper, int times)
{
	struct svm_test *t = test->priv;

	memset(zapper, 0, sizeof(*zapper));
	zapper->notifier.ops = &zapper_ops;
	zapper->owner = &t->gpu->ddev;
	zapper->times = times;
	zapper->file = shmem_file_setup("nouveau-test", PAGE_SIZE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR(zapper->file));
	zapper->addr = vm_mmap(zapper->file, 0, PAGE_SIZE, RW, MAP_PRIVATE, 0);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(zapper->addr));
	touch(test, zapper->addr, 1);
	INIT_WORK_ONSTACK(&zapper->work, zapper_work);
	init_completion(&zapper->done);
	KUNIT_ASSERT_EQ(test, 0, mmu_notifier_register(&zapper->notifier,
						       test_mm));
}

static void zapper_stop(struct zapper *zapper)
{
	mmu_notifier_unregister(&zapper->notifier, test_mm);
	destroy_work_on_stack(&zapper->work);
	unmap(zapper->addr, 1);
	fput(zapper->file);
}

/* What the handler has got hold of is no page of the process any more. */
static void mapping_changes_meanwhile(struct kunit *test)
{
	struct svm_test *t = test->priv;
	struct zapper zapper;
	struct page *page;

	zapper_start(test, &zapper, 1);
	fault_now(t, zapper.addr, TEST_ATOMIC);
	KUNIT_EXPECT_EQ(test, zapper.made, 2);
	expect(test, zapper.addr, VWA, 1, 0);
	KUNIT_EXPECT_EQ(test, 1, get_user_pages_fast(zapper.addr, 1, 0, &page));
	KUNIT_EXPECT_EQ(test, page_to_phys(page),
			test_gpu_pte(&t->client, zapper.addr) & PAGE_MASK);
	put_page(page);
	zapper_stop(&zapper);
}

/* Neither mapped nor cancelled, and the others on the page wait as well. */
static void out_of_time_is_replayed(struct kunit *test)
{
	struct svm_test *t = test->priv;
	struct zapper zapper;

	zapper_start(test, &zapper, INT_MAX);
	fault(t, zapper.addr, TEST_ATOMIC);
	fault(t, zapper.addr, TEST_READ);
	fault(t, t->addr, TEST_READ);
	handle(t);
	expect(test, zapper.addr, 0, 1, 0);
	expect(test, t->addr, V | W, 1, 0);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.maps, 1ULL);
	zapper_stop(&zapper);
}

static int special_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_flags |= VM_PFNMAP | VM_IO;
	return 0;
}

static const struct file_operations special_fops = {
	.mmap = special_mmap,
};

/* Of a kind that cannot be exclusive; see the tests in user space for files. */
static void special_mapping_is_cancelled(struct kunit *test)
{
	struct svm_test *t = test->priv;
	struct file *file = anon_inode_getfile("nouveau-test", &special_fops,
					       NULL, O_RDWR);
	unsigned long addr;

	KUNIT_ASSERT_FALSE(test, IS_ERR(file));
	addr = vm_mmap(file, 0, PAGE_SIZE, RW, MAP_SHARED, 0);
	fput(file);
	KUNIT_ASSERT_FALSE(test, IS_ERR_VALUE(addr));
	fault_now(t, addr, TEST_ATOMIC);
	expect(test, addr, 0, 0, 1);
	unmap(addr, 1);
}

static void unmanaged_is_cancelled(struct kunit *test)
{
	struct svm_test *t = test->priv;

	/* Even if the process has something there. */
	KUNIT_ASSERT_EQ(test, (unsigned long)UNMANAGED,
			vm_mmap(NULL, UNMANAGED, PAGE_SIZE, RW,
				MAP_PRIVATE | MAP_ANONYMOUS |
				MAP_FIXED_NOREPLACE, 0));
	fault(t, UNMANAGED, TEST_READ);
	fault(t, UNMANAGED + UNMANAGED_SIZE - PAGE_SIZE, TEST_WRITE);
	handle(t);
	expect(test, UNMANAGED, 0, 0, 2);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.maps, 0ULL);
	unmap(UNMANAGED, 1);
}

static void failed_map_is_cancelled(struct kunit *test)
{
	struct svm_test *t = test->priv;

	t->gpu->fail_pfnmap = 1;
	fault_now(t, t->addr, TEST_ATOMIC);
	expect(test, t->addr, 0, 0, 1);
	/* The page has been let go: the CPU gets it. */
	touch(test, t->addr, 1);
}

/* Entries are cleared before they are replaced, see svm_test_exit(). */
static void access_is_upgraded(struct kunit *test)
{
	struct svm_test *t = test->priv;

	fault_now(t, t->addr, TEST_WRITE);
	expect(test, t->addr, V | W, 1, 0);
	fault_now(t, t->addr, TEST_ATOMIC);
	expect(test, t->addr, VWA, 2, 0);
	fault_now(t, t->addr, TEST_ATOMIC);
	expect(test, t->addr, VWA, 3, 0);
}

static void cpu_takes_page_back(struct kunit *test)
{
	struct svm_test *t = test->priv;
	u64 clears;

	fault_now(t, t->addr, TEST_ATOMIC);
	clears = t->gpu->stats.clears;
	touch(test, t->addr, 1);
	expect(test, t->addr, V | W, 1, 0);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.clears, clears);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.demotions, 1ULL);
	fault_now(t, t->addr, TEST_ATOMIC);
	expect(test, t->addr, VWA, 2, 0);
}

static int notify(struct svm_test *t, enum mmu_notifier_event event,
		  void *owner, unsigned long start, unsigned long end,
		  bool blockable)
{
	struct mmu_notifier *mn = &t->client.cli.svm.svmm->notifier;
	struct mmu_notifier_range range = {
		.mm = test_mm,
		.start = start,
		.end = end,
		.event = event,
		.owner = owner,
		.flags = blockable ? MMU_NOTIFIER_RANGE_BLOCKABLE : 0,
	};

	return mn->ops->invalidate_range_start(mn, &range);
}

/* A process that is gone: what others do with its file is not its business. */
static void release_clears_all(struct kunit *test)
{
	struct svm_test *t = test->priv;
	struct mmu_notifier *mn = &t->client.cli.svm.svmm->notifier;

	fault(t, t->addr, TEST_WRITE);
	fault(t, t->addr + PAGE_SIZE, TEST_ATOMIC);
	handle(t);
	expect(test, t->addr + PAGE_SIZE, VWA, 1, 0);
	mn->ops->release(mn, test_mm);
	expect(test, t->addr, 0, 1, 0);
	expect(test, t->addr + PAGE_SIZE, 0, 1, 0);
}

/* What an event leaves of a page that the GPU has for atomics. */
static u64 left_by(struct kunit *test, enum mmu_notifier_event event,
		   void *owner)
{
	struct svm_test *t = test->priv;
	unsigned long end = t->addr + PAGE_SIZE;

	fault_now(t, t->addr, TEST_ATOMIC);
	KUNIT_EXPECT_EQ(test, flags(t, t->addr), VWA);
	KUNIT_EXPECT_EQ(test, -EAGAIN, notify(t, event, owner, t->addr, end,
					      false));
	KUNIT_EXPECT_EQ(test, flags(t, t->addr), VWA);
	KUNIT_EXPECT_EQ(test, 0, notify(t, event, owner, t->addr, end, true));
	return flags(t, t->addr);
}

static void events(struct kunit *test)
{
	struct svm_test *t = test->priv;
	void *us = &t->gpu->ddev;
	int other;

	KUNIT_EXPECT_EQ(test, left_by(test, MMU_NOTIFY_UNMAP, NULL), 0ULL);
	KUNIT_EXPECT_EQ(test, left_by(test, MMU_NOTIFY_CLEAR, NULL), 0ULL);
	KUNIT_EXPECT_EQ(test, left_by(test, MMU_NOTIFY_PROTECTION_VMA, NULL),
			0ULL);
	KUNIT_EXPECT_EQ(test, left_by(test, MMU_NOTIFY_PROTECTION_PAGE, NULL),
			0ULL);
	KUNIT_EXPECT_EQ(test, left_by(test, MMU_NOTIFY_SOFT_DIRTY, NULL), 0ULL);
	KUNIT_EXPECT_EQ(test, left_by(test, MMU_NOTIFY_RELEASE, NULL), 0ULL);
	KUNIT_EXPECT_EQ(test, left_by(test, MMU_NOTIFY_MIGRATE, NULL), 0ULL);
	KUNIT_EXPECT_EQ(test, left_by(test, MMU_NOTIFY_MIGRATE, &other), 0ULL);
	KUNIT_EXPECT_EQ(test, left_by(test, MMU_NOTIFY_MIGRATE, us), 0ULL);
	KUNIT_EXPECT_EQ(test, left_by(test, MMU_NOTIFY_EXCLUSIVE, us), VWA);
	KUNIT_EXPECT_EQ(test, left_by(test, MMU_NOTIFY_EXCLUSIVE, &other),
			0ULL);
	KUNIT_EXPECT_EQ(test, left_by(test, MMU_NOTIFY_EXCLUSIVE, NULL), V | W);
}

static void event_spares_neighbours(struct kunit *test)
{
	struct svm_test *t = test->priv;
	int i;

	for (i = 0; i < 3; i++)
		fault(t, t->addr + i * PAGE_SIZE, TEST_ATOMIC);
	handle(t);
	notify(t, MMU_NOTIFY_EXCLUSIVE, NULL, t->addr + PAGE_SIZE,
	       t->addr + 2 * PAGE_SIZE, true);
	KUNIT_EXPECT_EQ(test, flags(t, t->addr), VWA);
	KUNIT_EXPECT_EQ(test, flags(t, t->addr + PAGE_SIZE), V | W);
	KUNIT_EXPECT_EQ(test, flags(t, t->addr + 2 * PAGE_SIZE), VWA);
	notify(t, MMU_NOTIFY_UNMAP, NULL, t->addr + PAGE_SIZE,
	       t->addr + 2 * PAGE_SIZE, true);
	KUNIT_EXPECT_EQ(test, flags(t, t->addr), VWA);
	KUNIT_EXPECT_EQ(test, flags(t, t->addr + PAGE_SIZE), 0ULL);
	KUNIT_EXPECT_EQ(test, flags(t, t->addr + 2 * PAGE_SIZE), VWA);
}

/* Which may happen until the notifier has gone as well. */
static void event_after_client(struct kunit *test)
{
	struct svm_test *t = test->priv;
	struct nouveau_svmm *svmm = nouveau_svmm_get(t->client.cli.svm.svmm);
	const struct mmu_notifier_ops *ops = svmm->notifier.ops;
	struct mmu_notifier_range range = {
		.mm = test_mm,
		.start = t->addr,
		.end = t->addr + PAGE_SIZE,
		.flags = MMU_NOTIFIER_RANGE_BLOCKABLE,
	};

	fault_now(t, t->addr, TEST_ATOMIC);
	test_client_fini(&t->client);
	ops->release(&svmm->notifier, test_mm);
	KUNIT_EXPECT_EQ(test, 0, ops->invalidate_range_start(&svmm->notifier,
							     &range));
	nouveau_svmm_put(svmm);
}

/* What reaches over the unmanaged range clears both sides, and it not: exit. */
static void event_spares_unmanaged(struct kunit *test)
{
	static const unsigned long addr[] = {
		UNMANAGED - PAGE_SIZE, UNMANAGED + UNMANAGED_SIZE
	};
	struct svm_test *t = test->priv;
	int i;

	for (i = 0; i < ARRAY_SIZE(addr); i++) {
		KUNIT_ASSERT_EQ(test, addr[i],
				vm_mmap(NULL, addr[i], PAGE_SIZE, RW,
					MAP_PRIVATE | MAP_ANONYMOUS |
					MAP_FIXED_NOREPLACE, 0));
		fault(t, addr[i], TEST_ATOMIC);
	}
	handle(t);
	KUNIT_EXPECT_EQ(test, flags(t, addr[0]), VWA);
	KUNIT_EXPECT_EQ(test, flags(t, addr[1]), VWA);
	notify(t, MMU_NOTIFY_EXCLUSIVE, NULL, addr[0], addr[1] + PAGE_SIZE,
	       true);
	KUNIT_EXPECT_EQ(test, flags(t, addr[0]), V | W);
	KUNIT_EXPECT_EQ(test, flags(t, addr[1]), V | W);
	notify(t, MMU_NOTIFY_UNMAP, NULL, addr[0], addr[1] + PAGE_SIZE, true);
	KUNIT_EXPECT_EQ(test, flags(t, addr[0]), 0ULL);
	KUNIT_EXPECT_EQ(test, flags(t, addr[1]), 0ULL);
	unmap(addr[0], 1);
	unmap(addr[1], 1);
}

/* Let the handler go on when somebody has begun to stop it. */
static void wait_for_stop(struct test_gpu *gpu)
{
	while (test_bit(NVIF_NOTIFY_USER, &gpu->notify->flags))
		usleep_range(100, 200);
}

static void handler_is_waited_for(struct kunit *test)
{
	struct svm_test *t = test->priv;

	t->gpu->on_get = wait_for_stop;
	fault(t, t->addr, TEST_WRITE);
	fault(t, t->addr + PAGE_SIZE, TEST_ATOMIC);
	test_gpu_interrupt(t->gpu);
	nouveau_svm_suspend(&t->gpu->drm);
	expect(test, t->addr, V | W, 1, 0);
	nouveau_svm_resume(&t->gpu->drm);

	fault(t, t->addr, TEST_ATOMIC);
	test_gpu_interrupt(t->gpu);
	test_client_fini(&t->client);
	nouveau_svm_fini(&t->gpu->drm);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.cancels, 1ULL);
	t->gpu->on_get = NULL;
	nouveau_svm_init(&t->gpu->drm);
}

static void client_goes(struct test_gpu *gpu)
{
	gpu->on_cancel = NULL;
	test_client_fini(gpu->data);
	mmu_notifier_synchronize();
}

/* The client closes its file when the handler has just looked it up. */
static void client_goes_while_handled(struct kunit *test)
{
	struct svm_test *t = test->priv;

	t->gpu->data = &t->client;
	t->gpu->on_cancel = client_goes;
	test_gpu_raise(t->gpu, 0x1000, t->addr, TEST_WRITE, 0, 0);
	fault(t, t->addr, TEST_WRITE);
	fault(t, t->addr + PAGE_SIZE, TEST_ATOMIC);
	handle(t);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.cancels, 3ULL);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.maps, 0ULL);
	KUNIT_EXPECT_TRUE(test, list_empty(&t->gpu->vmms));
}

/* A pending signal is what makes the registration of a notifier fail. */
static void init_without_notifier(struct kunit *test)
{
	struct svm_test *t = test->priv;

	allow_signal(SIGUSR1);
	send_sig(SIGUSR1, current, 1);
	KUNIT_EXPECT_EQ(test, -EINTR, test_client_init(&t->other, UNMANAGED,
						       UNMANAGED_SIZE));
	flush_signals(current);
	disallow_signal(SIGUSR1);
	KUNIT_EXPECT_TRUE(test, list_is_singular(&t->gpu->vmms));
	KUNIT_EXPECT_EQ(test, 0, test_client_init(&t->other, UNMANAGED,
						  UNMANAGED_SIZE));
}

/* Closing the file frees nothing twice. */
static void init_without_page_sizes(struct kunit *test)
{
	struct svm_test *t = test->priv;

	t->gpu->fail_page = 2;
	KUNIT_EXPECT_EQ(test, -EINVAL, test_client_init(&t->other, UNMANAGED,
							UNMANAGED_SIZE));
	KUNIT_EXPECT_TRUE(test, list_is_singular(&t->gpu->vmms));
	KUNIT_EXPECT_FALSE(test, t->other.cli.svm.vmm.page);
	test_client_fini(&t->other);
}

/* The CPU waits its time after the replay, once, and for no other event. */
static void cpu_is_held(struct kunit *test)
{
	struct svm_test *t = test->priv;
	struct nouveau_svmm *svmm = t->client.cli.svm.svmm;
	unsigned long end = t->addr + PAGE_SIZE;
	ktime_t start, until = 0;
	int i;

	nouveau_svm_hold_us = 5000;
	start = ktime_get();
	fault_now(t, t->addr, TEST_ATOMIC);
	notify(t, MMU_NOTIFY_UNMAP, NULL, end, end + PAGE_SIZE, true);
	for (i = 0; i < ARRAY_SIZE(svmm->hold); i++)
		until = max(until, svmm->hold[i].until);
	KUNIT_EXPECT_TRUE(test, ktime_us_delta(until, start) >= 5000);

	notify(t, MMU_NOTIFY_EXCLUSIVE, NULL, t->addr, end, true);
	KUNIT_EXPECT_TRUE(test, ktime_get() >= until);
	KUNIT_EXPECT_EQ(test, flags(t, t->addr), V | W);
	for (i = 0; i < ARRAY_SIZE(svmm->hold); i++)
		KUNIT_EXPECT_EQ(test, svmm->hold[i].until, (ktime_t)0);
	nouveau_svm_hold_us = 0;
}

/* As when the device is unbound while files are open. */
static void client_outlives_svm(struct kunit *test)
{
	struct svm_test *t = test->priv;

	fault_now(t, t->addr, TEST_WRITE);
	nouveau_svm_fini(&t->gpu->drm);
	KUNIT_EXPECT_EQ(test, -ENODEV,
			nouveau_svmm_join(t->client.cli.svm.svmm, INST + 4096));
	test_client_fini(&t->client);
	KUNIT_EXPECT_TRUE(test, list_empty(&t->gpu->vmms));
	nouveau_svm_init(&t->gpu->drm);
}

static u32 get(struct kunit *test, unsigned long addr)
{
	u32 value = 0;

	KUNIT_EXPECT_FALSE(test, get_user(value, (u32 __user *)addr));
	return value;
}

/* What DRM_NOUVEAU_SVM_BIND does, which is not for kernel threads. */
static void move_to_vram(struct kunit *test, unsigned long addr,
			 unsigned long pages)
{
	struct svm_test *t = test->priv;
	unsigned long end = addr + pages * PAGE_SIZE;
	struct nouveau_svmm_move move;
	struct vm_area_struct *vma;

	if (!t->gpu->vram)
		KUNIT_ASSERT_EQ(test, 0, test_gpu_vram_new(t->gpu));
	KUNIT_ASSERT_EQ(test, 0,
			nouveau_svmm_move_begin(&move, t->client.cli.svm.svmm,
						addr, end));
	mmap_read_lock(test_mm);
	vma = find_vma(test_mm, addr);
	KUNIT_EXPECT_EQ(test, 0,
			nouveau_dmem_migrate_vma(&t->gpu->drm, &move, vma, addr,
						 end));
	mmap_read_unlock(test_mm);
	nouveau_svmm_move_end(&move);
}

static void gpu_add(struct kunit *test, unsigned long addr, u64 value)
{
	struct svm_test *t = test->priv;
	struct test_engine engine = { .inst = t->client.inst };

	KUNIT_EXPECT_EQ(test, 0, test_gpu_access(&t->client, &engine,
						 TEST_ATOMIC, addr, &value));
}

static void vram_takes_atomics(struct kunit *test)
{
	struct svm_test *t = test->priv;
	int i;

	move_to_vram(test, t->addr, PAGES);
	for (i = 0; i < PAGES; i++) {
		expect(test, t->addr + i * PAGE_SIZE, VRAM | VWA, 0, 0);
		gpu_add(test, t->addr + i * PAGE_SIZE, i);
	}
	/* The CPU takes one, with what the GPU has made of it. */
	KUNIT_EXPECT_EQ(test, get(test, t->addr + 2 * PAGE_SIZE), 3U);
	expect(test, t->addr + 2 * PAGE_SIZE, 0, 0, 0);
	expect(test, t->addr + 3 * PAGE_SIZE, VRAM | VWA, 0, 0);
}

/* Where the GPU has lost the mapping and not the page. */
static void vram_is_mapped_where_it_is(struct kunit *test)
{
	static const u64 want[] = { VRAM | VWA, VRAM | VWA, VRAM | VWA };
	struct svm_test *t = test->priv;
	int i;

	move_to_vram(test, t->addr, ARRAY_SIZE(want));
	nouveau_svmm_invalidate(t->client.cli.svm.svmm, t->addr,
				t->addr + PAGES * PAGE_SIZE);
	for (i = 0; i < ARRAY_SIZE(want); i++)
		fault(t, t->addr + i * PAGE_SIZE, i);
	handle(t);
	for (i = 0; i < ARRAY_SIZE(want); i++)
		expect(test, t->addr + i * PAGE_SIZE, want[i], 1, 0);
}

static void vram_read_only(struct kunit *test)
{
	struct svm_test *t = test->priv;
	unsigned long addr = map(test, 1, PROT_READ);

	move_to_vram(test, addr, 1);
	expect(test, addr, VRAM | V, 0, 0);
	fault(t, addr, TEST_ATOMIC);
	fault(t, addr, TEST_WRITE);
	fault(t, addr, TEST_READ);
	handle(t);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.cancels, 2ULL);
	KUNIT_EXPECT_EQ(test, t->gpu->stats.replays, 1ULL);
	KUNIT_EXPECT_TRUE(test, flags(t, addr) & V);
	KUNIT_EXPECT_FALSE(test, flags(t, addr) & (W | A));
	unmap(addr, 1);
}

/* A page has one process, which may have several clients. */
static void vram_is_taken_from_all(struct kunit *test)
{
	struct svm_test *t = test->priv;

	KUNIT_ASSERT_EQ(test, 0, test_client_init(&t->other, UNMANAGED, 0));
	move_to_vram(test, t->addr, 2);
	test_gpu_raise(t->gpu, t->other.inst, t->addr, TEST_WRITE, 0, 0);
	handle(t);
	KUNIT_EXPECT_TRUE(test, test_gpu_pte(&t->other, t->addr) & VRAM);
	KUNIT_EXPECT_EQ(test, get(test, t->addr), 1U);
	expect(test, t->addr, 0, 1, 0);
	KUNIT_EXPECT_EQ(test, test_gpu_pte(&t->other, t->addr), 0ULL);
}

/* Pages that do not move are neither mapped for the copy engine nor unmapped. */
static void dma_is_returned(struct kunit *test)
{
	struct svm_test *t = test->priv;
	struct page *page;

	KUNIT_EXPECT_EQ(test, 1, get_user_pages_fast(t->addr + PAGE_SIZE, 1, 0,
						     &page));
	move_to_vram(test, t->addr, 3);
	put_page(page);
	expect(test, t->addr, VRAM | VWA, 0, 0);
	expect(test, t->addr + PAGE_SIZE, 0, 0, 0);
	expect(test, t->addr + 2 * PAGE_SIZE, VRAM | VWA, 0, 0);
	KUNIT_EXPECT_TRUE(test, test_gpu_dma_returned());

	t->gpu->fail_copy = true;
	move_to_vram(test, t->addr + 3 * PAGE_SIZE, 2);
	t->gpu->fail_copy = false;
	expect(test, t->addr + 3 * PAGE_SIZE, 0, 0, 0);
	KUNIT_EXPECT_TRUE(test, test_gpu_dma_returned());
	KUNIT_EXPECT_EQ(test, get(test, t->addr + 3 * PAGE_SIZE), 1U);
	KUNIT_EXPECT_EQ(test, get(test, t->addr), 1U);
	KUNIT_EXPECT_TRUE(test, test_gpu_dma_returned());
}

static void expect_taken(struct test_gpu *gpu)
{
	struct svm_test *t = gpu->data;

	if (t && (flags(t, t->addr) || flags(t, t->addr + PAGE_SIZE)))
		gpu->data = NULL;
}

/* The GPU does not go on with a page while it is copied. */
static void taken_before_it_moves(struct kunit *test)
{
	struct svm_test *t = test->priv;

	fault(t, t->addr, TEST_ATOMIC);
	fault(t, t->addr + PAGE_SIZE, TEST_WRITE);
	handle(t);
	gpu_add(test, t->addr, 5);
	t->gpu->data = t;
	t->gpu->on_copy = expect_taken;
	move_to_vram(test, t->addr, 2);
	t->gpu->on_copy = NULL;
	KUNIT_EXPECT_TRUE(test, t->gpu->data == t);
	expect(test, t->addr, VRAM | VWA, 1, 0);
	expect(test, t->addr + PAGE_SIZE, VRAM | VWA, 1, 0);
	KUNIT_EXPECT_EQ(test, get(test, t->addr), 6U);
}

struct toucher {
	struct work_struct work;
	struct completion done;
	unsigned long addr;
};

static void toucher_work(struct work_struct *work)
{
	struct toucher *toucher = container_of(work, struct toucher, work);

	kthread_use_mm(test_mm);
	WARN_ON(put_user(7, (int __user *)toucher->addr));
	kthread_unuse_mm(test_mm);
	complete(&toucher->done);
}

static void touch_meanwhile(struct test_gpu *gpu)
{
	struct toucher *toucher = gpu->data;

	gpu->on_copy = NULL;
	schedule_work(&toucher->work);
	wait_for_completion(&toucher->done);
}

/* A CPU is first to touch what was about to be made in VRAM. */
static void lost_to_the_cpu(struct kunit *test)
{
	struct svm_test *t = test->priv;
	struct toucher toucher = { .addr = map(test, 2, RW) };

	INIT_WORK_ONSTACK(&toucher.work, toucher_work);
	init_completion(&toucher.done);
	t->gpu->data = &toucher;
	t->gpu->on_copy = touch_meanwhile;
	move_to_vram(test, toucher.addr, 2);
	destroy_work_on_stack(&toucher.work);
	expect(test, toucher.addr, 0, 0, 0);
	KUNIT_EXPECT_TRUE(test, flags(t, toucher.addr + PAGE_SIZE) & VRAM);
	KUNIT_EXPECT_EQ(test, get(test, toucher.addr), 7U);
	unmap(toucher.addr, 2);
}

struct reader {
	struct work_struct work;
	struct completion done;
	unsigned long addr;
	u32 value;
	int ret;
};

static void reader_work(struct work_struct *work)
{
	struct reader *reader = container_of(work, struct reader, work);

	kthread_use_mm(test_mm);
	reader->ret = get_user(reader->value, (u32 __user *)reader->addr);
	kthread_unuse_mm(test_mm);
	complete(&reader->done);
}

/*
 * Have another thread read a page in VRAM that stays locked. Returns whether
 * that came to an end within @timeout. If not, it does when this returns.
 */
static bool read_locked(struct kunit *test, unsigned long timeout,
			struct reader *reader)
{
	struct svm_test *t = test->priv;
	struct page *page;
	bool ret;

	move_to_vram(test, t->addr, 1);
	page = test_gpu_vram_page(t->gpu, test_gpu_pte(&t->client, t->addr) &
				  NVIF_VMM_PFNMAP_V0_ADDR);
	reader->addr = t->addr;
	INIT_WORK_ONSTACK(&reader->work, reader_work);
	init_completion(&reader->done);
	lock_page(page);
	schedule_work(&reader->work);
	ret = wait_for_completion_timeout(&reader->done, timeout);
	unlock_page(page);
	flush_work(&reader->work);
	destroy_work_on_stack(&reader->work);
	return ret;
}

/* What others have in work is waited for. */
static void vram_is_waited_for(struct kunit *test)
{
	struct reader reader = {};

	KUNIT_EXPECT_FALSE(test, read_locked(test, HZ / 5, &reader));
	KUNIT_EXPECT_EQ(test, reader.ret, 0);
	KUNIT_EXPECT_EQ(test, reader.value, 1U);
}

/* But not for ever. */
static void vram_is_given_up(struct kunit *test)
{
	unsigned long timeout = test_gpu_set_fault_timeout(HZ / 5);
	struct reader reader = {};

	KUNIT_EXPECT_TRUE(test, read_locked(test, 5 * HZ, &reader));
	KUNIT_EXPECT_EQ(test, reader.ret, -EFAULT);
	test_gpu_set_fault_timeout(timeout);
}

/* Pages stay in VRAM when their client is gone, and come back when touched. */
static void vram_outlives_client(struct kunit *test)
{
	struct svm_test *t = test->priv;

	move_to_vram(test, t->addr, 2);
	gpu_add(test, t->addr, 5);
	test_client_fini(&t->client);
	mmu_notifier_synchronize();
	KUNIT_EXPECT_EQ(test, get(test, t->addr), 6U);
}

/* The GPU goes first. What it has made of the pages is not lost. */
static void vram_outlives_gpu(struct kunit *test)
{
	struct svm_test *t = test->priv;
	unsigned long addr = map(test, PAGES, RW);
	int i;

	touch(test, addr, PAGES);
	move_to_vram(test, addr, PAGES);
	for (i = 0; i < PAGES; i++)
		gpu_add(test, addr + i * PAGE_SIZE, i);
	/* Some are given up before the GPU goes, and some after that. */
	unmap(addr, 2);
	test_gpu_vram_del(t->gpu);
	unmap(addr + 2 * PAGE_SIZE, 2);
	for (i = 4; i < PAGES; i++) {
		KUNIT_EXPECT_EQ(test, flags(t, addr + i * PAGE_SIZE), 0ULL);
		KUNIT_EXPECT_EQ(test, get(test, addr + i * PAGE_SIZE), 1U + i);
		touch(test, addr + i * PAGE_SIZE, 1);
		KUNIT_EXPECT_EQ(test, get(test, addr + i * PAGE_SIZE), 1U);
	}
	unmap(addr + 4 * PAGE_SIZE, PAGES - 4);
}

/* What a GPU does not give back any more is an error, and nobody waits. */
static void vram_lost_with_gpu(struct kunit *test)
{
	struct svm_test *t = test->priv;
	u32 value;

	move_to_vram(test, t->addr, 2);
	t->gpu->fail_copy = true;
	test_gpu_vram_del(t->gpu);
	KUNIT_EXPECT_EQ(test, sizeof(value),
			copy_from_user(&value, (void __user *)t->addr,
				       sizeof(value)));
	KUNIT_EXPECT_EQ(test, get(test, t->addr + 2 * PAGE_SIZE), 1U);
}

static struct kunit_case svm_test_cases[] = {
	KUNIT_CASE(svm_needs_a_buffer),
	KUNIT_CASE(svm_suspends),
	KUNIT_CASE(svm_once_a_client),
	KUNIT_CASE(read_maps_valid),
	KUNIT_CASE(write_maps_writable),
	KUNIT_CASE(atomic_maps_exclusive),
	KUNIT_CASE(prefetch_maps_what_is_there),
	KUNIT_CASE(unknown_access_is_a_write),
	KUNIT_CASE(strongest_access_wins),
	KUNIT_CASE(several_addresses),
	KUNIT_CASE(addresses_far_apart),
	KUNIT_CASE(several_clients),
	KUNIT_CASE(buffer_full_and_wrapping),
	KUNIT_CASE(empty_buffer),
	KUNIT_CASE(unknown_instance_is_cancelled),
	KUNIT_CASE(unmapped_is_cancelled),
	KUNIT_CASE(read_only),
	KUNIT_CASE(mapping_changes_meanwhile),
	KUNIT_CASE(out_of_time_is_replayed),
	KUNIT_CASE(special_mapping_is_cancelled),
	KUNIT_CASE(unmanaged_is_cancelled),
	KUNIT_CASE(failed_map_is_cancelled),
	KUNIT_CASE(access_is_upgraded),
	KUNIT_CASE(cpu_takes_page_back),
	KUNIT_CASE(release_clears_all),
	KUNIT_CASE(events),
	KUNIT_CASE(event_spares_neighbours),
	KUNIT_CASE(event_after_client),
	KUNIT_CASE(event_spares_unmanaged),
	KUNIT_CASE(handler_is_waited_for),
	KUNIT_CASE(client_goes_while_handled),
	KUNIT_CASE(init_without_notifier),
	KUNIT_CASE(init_without_page_sizes),
	KUNIT_CASE(cpu_is_held),
	KUNIT_CASE(client_outlives_svm),
	KUNIT_CASE(vram_takes_atomics),
	KUNIT_CASE(vram_is_mapped_where_it_is),
	KUNIT_CASE(vram_read_only),
	KUNIT_CASE(vram_is_taken_from_all),
	KUNIT_CASE(dma_is_returned),
	KUNIT_CASE(taken_before_it_moves),
	KUNIT_CASE(lost_to_the_cpu),
	KUNIT_CASE(vram_is_waited_for),
	KUNIT_CASE(vram_is_given_up),
	KUNIT_CASE(vram_outlives_client),
	KUNIT_CASE(vram_outlives_gpu),
	KUNIT_CASE(vram_lost_with_gpu),
	{}
};

static struct kunit_suite svm_test_suite = {
	.name = "nouveau-svm",
	.init = svm_test_init,
	.exit = svm_test_exit,
	.test_cases = svm_test_cases,
};

static struct kunit_suite *suites[] = {
	&gp100_vmm_test_suite,
	&svm_test_suite,
	NULL
};

/*
 * Called by the module's own init function. There is no kunit_test_suites():
 * in a module it would be that function.
 */
void nouveau_test_kunit(void)
{
	if (!current->mm)
		return;
	test_mm = current->mm;
	mmget(test_mm);
	pr_info("TAP version 14\n");
	pr_info("1..%zu\n", ARRAY_SIZE(suites) - 1);
	__kunit_test_suites_init(suites);
	__kunit_test_suites_exit(suites);
	mmput(test_mm);
}
