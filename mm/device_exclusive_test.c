// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of device-exclusive memory, on an address space of their own.
 *
 * A test case runs in a kernel thread that uses the mm, so that get_user() and
 * put_user() are the CPU's accesses and fault as those of a program do. The
 * device is the test itself, which writes to the pages it was given.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/device_exclusive.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/kernfs.h>
#include <linux/kobject.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/oom.h>
#include <linux/page_idle.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/sysfs.h>
#include <linux/uaccess.h>
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include <trace/events/device_exclusive.h>

#include "internal.h"

#define NPAGES	8

/* The most pages that one call returns */
#define NHUGE	(PMD_SIZE / PAGE_SIZE)

struct fixture {
	struct mm_struct *mm;
	unsigned long addr;
	struct page **pages;
	/* What the notifier has seen of MMU_NOTIFY_EXCLUSIVE */
	struct mmu_notifier mn;
	int events;
	void *owner;
	unsigned long start, end;
	/* and of all others */
	int other_events;
	int other_owners;
	/* Ranges of any kind that have begun and not ended */
	int open;
	/* What it says when it is asked whether a page has been used */
	bool young;
	/* What happens when a device is told, before the memory is restored */
	void (*when_told)(struct fixture *f);
	bool locked;
	int nr_exclusive;
	/* Was the first page exclusive when the last range ended? */
	bool exclusive_then;
};

static int owner_a, owner_b;

static pte_t read_pte(struct fixture *f, unsigned long addr)
{
	pmd_t *pmd = mm_find_pmd(f->mm, addr);
	pte_t pte = __pte(0);
	spinlock_t *ptl;
	pte_t *ptep;

	if (pmd) {
		ptep = pte_offset_map_lock(f->mm, pmd, addr, &ptl);
		pte = *ptep;
		pte_unmap_unlock(ptep, ptl);
	}
	return pte;
}

static bool is_exclusive(struct fixture *f, unsigned long addr)
{
	return is_device_exclusive_pte(read_pte(f, addr));
}

static int note_event(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	struct fixture *f = container_of(mn, struct fixture, mn);

	f->open++;
	if (range->event != MMU_NOTIFY_EXCLUSIVE) {
		f->other_events++;
		f->other_owners += !!range->owner;
		return 0;
	}
	f->events++;
	f->owner = range->owner;
	f->start = range->start;
	f->end = range->end;
	if (f->when_told)
		f->when_told(f);
	return 0;
}

static void note_end(struct mmu_notifier *mn,
		     const struct mmu_notifier_range *range)
{
	struct fixture *f = container_of(mn, struct fixture, mn);

	f->open--;
	f->exclusive_then = is_exclusive(f, f->addr);
}

static int note_young(struct mmu_notifier *mn, struct mm_struct *mm,
		      unsigned long start, unsigned long end)
{
	return container_of(mn, struct fixture, mn)->young;
}

static const struct mmu_notifier_ops note_ops = {
	.invalidate_range_start = note_event,
	.invalidate_range_end = note_end,
	.clear_flush_young = note_young,
	.clear_young = note_young,
};

static struct mm_struct *mm_create(void)
{
	struct rlimit stack = { .rlim_cur = _STK_LIM, .rlim_max = _STK_LIM };
	struct mm_struct *mm = mm_alloc();

	if (mm)
		arch_pick_mmap_layout(mm, &stack);
	return mm;
}

static int fixture_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;
	f->pages = kunit_kzalloc(test, NHUGE * sizeof(*f->pages), GFP_KERNEL);
	if (!f->pages)
		return -ENOMEM;
	f->mm = mm_create();
	if (!f->mm)
		return -ENOMEM;
	f->mn.ops = &note_ops;
	if (mmu_notifier_register(&f->mn, f->mm)) {
		mmput(f->mm);
		return -ENOMEM;
	}
	kthread_use_mm(f->mm);
	f->addr = vm_mmap(NULL, 0, NPAGES * PAGE_SIZE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, 0);
	test->priv = f;
	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(f->addr));
	return 0;
}

/*
 * Runs in the thread of the test case: none of them uses KUNIT_ASSERT, which
 * would leave that thread with the mm.
 */
static void fixture_exit(struct kunit *test)
{
	struct fixture *f = test->priv;

	if (!f)
		return;
	KUNIT_EXPECT_EQ(test, f->open, 0);
	kthread_unuse_mm(f->mm);
	mmu_notifier_unregister(&f->mn, f->mm);
	mmput(f->mm);
}

static int make(struct fixture *f, unsigned long addr, int npages, void *owner)
{
	int ret;

	mmap_read_lock(f->mm);
	ret = device_exclusive_make_range(f->mm, addr,
					  addr + npages * PAGE_SIZE, f->pages,
					  owner);
	mmap_read_unlock(f->mm);
	return ret;
}

static int make_and_put(struct fixture *f, unsigned long addr, int npages,
			void *owner)
{
	int ret = make(f, addr, npages, owner);

	device_exclusive_put_range(f->pages, ret);
	return ret;
}

static void write_entry(struct fixture *f, unsigned long addr, pte_t pte)
{
	spinlock_t *ptl;
	pte_t *ptep;

	ptep = pte_offset_map_lock(f->mm, mm_find_pmd(f->mm, addr), addr, &ptl);
	set_pte_at(f->mm, addr, ptep, pte);
	pte_unmap_unlock(ptep, ptl);
}

static long anon_rss(struct fixture *f)
{
	sync_mm_rss(f->mm);
	return get_mm_counter(f->mm, MM_ANONPAGES);
}

static u64 __user *word(unsigned long addr)
{
	return (u64 __user *)addr;
}

static u64 cpu_read(unsigned long addr)
{
	u64 val = ~0ULL;
	int err = get_user(val, word(addr));

	/* The fault calls the notifier, which the compiler does not know. */
	barrier();
	return err ? ~0ULL : val;
}

static int cpu_write(unsigned long addr, u64 val)
{
	int err = put_user(val, word(addr));

	barrier();
	return err;
}

static void device_write(struct page *page, u64 val)
{
	u64 *p = kmap(page);

	*p = val;
	kunmap(page);
}

static void make_locks_every_page_and_takes_a_reference(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i, n = make(f, f->addr, NPAGES, &owner_a);

	KUNIT_EXPECT_EQ(test, n, NPAGES);
	for (i = 0; i < n; i++) {
		struct page *page = f->pages[i];

		KUNIT_EXPECT_TRUE(test, is_exclusive(f, f->addr + i * PAGE_SIZE));
		KUNIT_EXPECT_TRUE(test, PageLocked(page));
		KUNIT_EXPECT_TRUE(test, PageDirty(page));
		KUNIT_EXPECT_EQ(test, page_mapcount(page), 1);
	}
	device_exclusive_put_range(f->pages, n);
}

static void put_unlocks_and_leaves_the_entries(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i, count[NPAGES], n = make(f, f->addr, NPAGES, &owner_a);

	for (i = 0; i < n; i++) {
		get_page(f->pages[i]);
		count[i] = page_count(f->pages[i]);
	}
	device_exclusive_put_range(f->pages, n);
	for (i = 0; i < n; i++) {
		KUNIT_EXPECT_EQ(test, page_count(f->pages[i]), count[i] - 1);
		KUNIT_EXPECT_FALSE(test, PageLocked(f->pages[i]));
		KUNIT_EXPECT_TRUE(test, is_exclusive(f, f->addr + i * PAGE_SIZE));
		put_page(f->pages[i]);
	}
}

static void put_of_an_error_does_nothing(struct kunit *test)
{
	struct fixture *f = test->priv;

	device_exclusive_put_range(f->pages, -EFAULT);
	device_exclusive_put_range(f->pages, 0);
}

static void counts_are_those_of_the_mapping(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;
	int count, mapcount;
	long rss;

	KUNIT_EXPECT_EQ(test, cpu_write(f->addr, 1), 0);
	lru_add_drain_all();
	page = pte_page(read_pte(f, f->addr));
	count = page_count(page);
	mapcount = page_mapcount(page);
	rss = anon_rss(f);

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	KUNIT_EXPECT_EQ(test, page_count(page), count);
	KUNIT_EXPECT_EQ(test, page_mapcount(page), mapcount);
	KUNIT_EXPECT_EQ(test, anon_rss(f), rss);

	KUNIT_EXPECT_EQ(test, cpu_read(f->addr), (u64)1);
	KUNIT_EXPECT_EQ(test, page_count(page), count);
	KUNIT_EXPECT_EQ(test, page_mapcount(page), mapcount);
	KUNIT_EXPECT_EQ(test, anon_rss(f), rss);
}

static void cpu_sees_what_the_device_wrote(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, cpu_write(f->addr, 1), 0);
	KUNIT_EXPECT_EQ(test, make(f, f->addr, 1, &owner_a), 1);
	device_write(f->pages[0], 2);
	device_exclusive_put_range(f->pages, 1);
	KUNIT_EXPECT_EQ(test, cpu_read(f->addr), (u64)2);
	KUNIT_EXPECT_TRUE(test, pte_page(read_pte(f, f->addr)) == f->pages[0]);
}

static void cpu_read_restores_a_young_writable_mapping(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	cpu_read(f->addr);
	pte = read_pte(f, f->addr);
	KUNIT_EXPECT_TRUE(test, pte_present(pte));
	KUNIT_EXPECT_TRUE(test, pte_young(pte));
	KUNIT_EXPECT_TRUE(test, pte_write(pte));
	KUNIT_EXPECT_TRUE(test, pte_dirty(pte));
}

/* Even for somebody who is not a CPU that sets the bit when it tries again */
static void fault_restores_a_young_mapping(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	mmap_read_lock(f->mm);
	KUNIT_EXPECT_EQ(test, fixup_user_fault(f->mm, f->addr, 0, NULL), 0);
	mmap_read_unlock(f->mm);
	KUNIT_EXPECT_TRUE(test, pte_present(read_pte(f, f->addr)));
	KUNIT_EXPECT_TRUE(test, pte_young(read_pte(f, f->addr)));
}

static void cpu_gets_back_one_page_only(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 3, &owner_a), 3);
	cpu_read(f->addr + PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, f->addr));
	KUNIT_EXPECT_FALSE(test, is_exclusive(f, f->addr + PAGE_SIZE));
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, f->addr + 2 * PAGE_SIZE));
}

static void make_sets_a_clean_page_dirty(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	/* The second time the page is taken over in place. */
	for (i = 0; i < 2; i++) {
		KUNIT_EXPECT_EQ(test, make(f, f->addr, 1, &owner_a), 1);
		KUNIT_EXPECT_TRUE(test, PageDirty(f->pages[0]));
		ClearPageDirty(f->pages[0]);
		device_exclusive_put_range(f->pages, 1);
	}
}

static void entry_is_soft_dirty(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		return;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	pte = read_pte(f, f->addr);
	KUNIT_EXPECT_TRUE(test, pte_swp_soft_dirty(pte));

	/* Taking it over counts as writing again. */
	write_entry(f, f->addr, pte_swp_clear_soft_dirty(pte));
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_b), 1);
	KUNIT_EXPECT_TRUE(test, pte_swp_soft_dirty(read_pte(f, f->addr)));
}

static void soft_dirty_lost_waits_for_a_write(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		return;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	pte = pte_swp_clear_soft_dirty(read_pte(f, f->addr));
	write_entry(f, f->addr, pte);

	cpu_read(f->addr);
	pte = read_pte(f, f->addr);
	KUNIT_EXPECT_TRUE(test, pte_present(pte));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
	KUNIT_EXPECT_FALSE(test, pte_soft_dirty(pte));

	KUNIT_EXPECT_EQ(test, cpu_write(f->addr, 5), 0);
	KUNIT_EXPECT_TRUE(test, pte_soft_dirty(read_pte(f, f->addr)));
}

static void soft_dirty_lost_sees_the_write_that_restores(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		return;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	page = f->pages[0];
	write_entry(f, f->addr,
		    pte_swp_clear_soft_dirty(read_pte(f, f->addr)));

	KUNIT_EXPECT_EQ(test, cpu_write(f->addr, 5), 0);
	pte = read_pte(f, f->addr);
	KUNIT_EXPECT_TRUE(test, pte_write(pte));
	KUNIT_EXPECT_TRUE(test, pte_soft_dirty(pte));
	/* and does not copy the page to find that out */
	KUNIT_EXPECT_TRUE(test, pte_page(pte) == page);
}

static void uffd_wp_restores_write_protected(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP))
		return;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	pte = pte_swp_mkuffd_wp(read_pte(f, f->addr));
	write_entry(f, f->addr, pte);
	find_vma(f->mm, f->addr)->vm_flags |= VM_UFFD_WP;

	cpu_read(f->addr);
	pte = read_pte(f, f->addr);
	KUNIT_EXPECT_TRUE(test, pte_present(pte));
	KUNIT_EXPECT_TRUE(test, pte_uffd_wp(pte));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
	KUNIT_EXPECT_FALSE(test, pte_dirty(pte));
	find_vma(f->mm, f->addr)->vm_flags &= ~VM_UFFD_WP;
}

static void uffd_wp_without_a_handler_restores_writable(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP))
		return;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	pte = pte_swp_mkuffd_wp(read_pte(f, f->addr));
	write_entry(f, f->addr, pte);

	cpu_read(f->addr);
	pte = read_pte(f, f->addr);
	KUNIT_EXPECT_TRUE(test, pte_present(pte));
	KUNIT_EXPECT_FALSE(test, pte_uffd_wp(pte));
	KUNIT_EXPECT_TRUE(test, pte_write(pte));
}

static void make_hands_the_young_bit_to_the_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	if (!IS_ENABLED(CONFIG_IDLE_PAGE_TRACKING))
		return;

	KUNIT_EXPECT_EQ(test, cpu_write(f->addr, 1), 0);
	page = pte_page(read_pte(f, f->addr));
	test_and_clear_page_young(page);
	set_page_idle(page);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	KUNIT_EXPECT_TRUE(test, page_is_young(page));
	KUNIT_EXPECT_FALSE(test, page_is_idle(page));
}

static void make_leaves_an_old_page_idle(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	if (!IS_ENABLED(CONFIG_IDLE_PAGE_TRACKING))
		return;

	KUNIT_EXPECT_EQ(test, cpu_write(f->addr, 1), 0);
	write_entry(f, f->addr, pte_mkold(read_pte(f, f->addr)));
	page = pte_page(read_pte(f, f->addr));
	test_and_clear_page_young(page);
	set_page_idle(page);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	KUNIT_EXPECT_FALSE(test, page_is_young(page));
	KUNIT_EXPECT_TRUE(test, page_is_idle(page));
}

/* A driver has the page locked when the VMA is, so that mlock() skips it. */
static void fault_mlocks_in_a_locked_vma(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	page = f->pages[0];
	KUNIT_EXPECT_FALSE(test, PageMlocked(page));
	find_vma(f->mm, f->addr)->vm_flags |= VM_LOCKED;
	cpu_read(f->addr);
	KUNIT_EXPECT_TRUE(test, PageMlocked(page));
	find_vma(f->mm, f->addr)->vm_flags &= ~VM_LOCKED;
}

static void make_is_announced_with_its_owner(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a),
			NPAGES);
	KUNIT_EXPECT_EQ(test, f->events, 1);
	KUNIT_EXPECT_PTR_EQ(test, f->owner, (void *)&owner_a);
	KUNIT_EXPECT_EQ(test, f->start, f->addr);
	KUNIT_EXPECT_EQ(test, f->end, f->addr + NPAGES * PAGE_SIZE);
}

/* A device that looks when the range has ended must not find the old mapping. */
static void range_ends_when_it_is_done(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	KUNIT_EXPECT_TRUE(test, f->exclusive_then);
	cpu_read(f->addr);
	KUNIT_EXPECT_FALSE(test, f->exclusive_then);
}

static void make_of_new_base_pages_sends_nothing_else(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a),
			NPAGES);
	KUNIT_EXPECT_EQ(test, f->other_events, 0);
}

static void restore_is_announced_without_owner(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 2, &owner_a), 2);
	f->events = 0;
	cpu_read(f->addr + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, f->events, 1);
	KUNIT_EXPECT_TRUE(test, !f->owner);
	KUNIT_EXPECT_EQ(test, f->start, f->addr + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, f->end, f->addr + 2 * PAGE_SIZE);
}

static void takeover_tells_the_other_and_restores_nothing(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	page = f->pages[0];
	f->events = 0;
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_b), 1);
	KUNIT_EXPECT_EQ(test, f->events, 1);
	KUNIT_EXPECT_PTR_EQ(test, f->owner, (void *)&owner_b);
	KUNIT_EXPECT_PTR_EQ(test, f->pages[0], page);
}

static void takeover_of_a_write_protected_page_is_a_fault(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP))
		return;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	pte = pte_swp_mkuffd_wp(read_pte(f, f->addr));
	write_entry(f, f->addr, pte);
	f->events = 0;
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_b), 1);
	/* one that restores the page, and one that makes it exclusive */
	KUNIT_EXPECT_EQ(test, f->events, 2);
}

static void page_that_was_only_read_is_faulted_in(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, cpu_read(f->addr + PAGE_SIZE), (u64)0);
	KUNIT_EXPECT_FALSE(test, pte_write(read_pte(f, f->addr + PAGE_SIZE)));
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a),
			NPAGES);
}

static void count_ends_at_a_page_that_is_locked(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a),
			NPAGES);
	page = f->pages[3];
	lock_page(page);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a), 3);
	unlock_page(page);
}

static void count_ends_where_the_vma_ends(struct kunit *test)
{
	struct fixture *f = test->priv;

	vm_munmap(f->addr + 5 * PAGE_SIZE, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a), 5);
	KUNIT_EXPECT_EQ(test,
			make(f, f->addr + 5 * PAGE_SIZE, 3, &owner_a), -EFAULT);
}

static unsigned long map(unsigned long prot, unsigned long flags)
{
	return vm_mmap(NULL, 0, PAGE_SIZE, prot, flags | MAP_ANONYMOUS, 0);
}

static void memory_that_cannot_be_exclusive_is_refused(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr;

	addr = map(PROT_READ, MAP_PRIVATE);
	KUNIT_EXPECT_EQ(test, make(f, addr, 1, &owner_a), -EFAULT);
	addr = map(PROT_NONE, MAP_PRIVATE);
	KUNIT_EXPECT_EQ(test, make(f, addr, 1, &owner_a), -EFAULT);
	addr = map(PROT_READ, MAP_SHARED);
	if (!IS_ERR_VALUE(addr))
		KUNIT_EXPECT_EQ(test, make(f, addr, 1, &owner_a), -EFAULT);
}

/* Whatever maps it may be gone when the driver comes again. */
static void page_with_another_mapping_is_for_later(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	page = f->pages[0];
	atomic_inc(&page->_mapcount);
	KUNIT_EXPECT_EQ(test, -EAGAIN, make_and_put(f, f->addr, 1, &owner_a));
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	atomic_dec(&page->_mapcount);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
}

static void count_ends_at_a_page_with_another_mapping(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 3, &owner_a), 3);
	page = f->pages[1];
	atomic_inc(&page->_mapcount);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 3, &owner_a), 1);
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	atomic_dec(&page->_mapcount);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 3, &owner_a), 3);
}

static int idle_faults;

/* Says that all is well, and has done nothing; not for ever, for a test. */
static vm_fault_t idle_fault(struct vm_fault *vmf)
{
	return ++idle_faults > 1000 ? VM_FAULT_SIGBUS : VM_FAULT_NOPAGE;
}

static const struct vm_operations_struct idle_ops = {
	.fault	= idle_fault,
};

static void fault_that_changes_nothing_is_not_for_ever(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct vm_area_struct *vma;

	mmap_write_lock(f->mm);
	vma = find_vma(f->mm, f->addr);
	vma->vm_ops = &idle_ops;
	mmap_write_unlock(f->mm);
	idle_faults = 0;
	KUNIT_EXPECT_EQ(test, make(f, f->addr, NPAGES, &owner_a), -EAGAIN);
	KUNIT_EXPECT_GT(test, idle_faults, 1);
	KUNIT_EXPECT_LT(test, idle_faults, 100);
	vma->vm_ops = NULL;
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	vma->vm_ops = &idle_ops;
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a), 1);
	vma->vm_ops = NULL;
}

static vm_fault_t no_memory_fault(struct vm_fault *vmf)
{
	return VM_FAULT_OOM;
}

static const struct vm_operations_struct no_memory_ops = {
	.fault	= no_memory_fault,
};

static void fault_without_memory_is_told(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct vm_area_struct *vma;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	mmap_write_lock(f->mm);
	vma = find_vma(f->mm, f->addr);
	vma->vm_ops = &no_memory_ops;
	mmap_write_unlock(f->mm);
	KUNIT_EXPECT_EQ(test, -ENOMEM,
			make_and_put(f, f->addr + PAGE_SIZE, 1, &owner_a));
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a), 1);
	vma->vm_ops = NULL;
}

/* SIGKILL, which nobody sends to a thread of the kernel's; so no lock is needed. */
static void set_dying(bool dying)
{
	if (dying) {
		sigaddset(&current->pending.signal, SIGKILL);
		set_thread_flag(TIF_SIGPENDING);
	} else {
		sigdelset(&current->pending.signal, SIGKILL);
		clear_thread_flag(TIF_SIGPENDING);
	}
}

static void dying_task_gets_nothing(struct kunit *test)
{
	struct fixture *f = test->priv;

	set_dying(true);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a),
			-EINTR);
	set_dying(false);
	KUNIT_EXPECT_EQ(test, f->events, 0);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a),
			NPAGES);
}

static void page_of_ksm_is_not_made(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct address_space *mapping;
	struct page *page;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	page = f->pages[0];
	mapping = page->mapping;
	page->mapping = (void *)((unsigned long)mapping | PAGE_MAPPING_KSM);
	KUNIT_EXPECT_EQ(test, -EAGAIN, make_and_put(f, f->addr, 1, &owner_a));
	page->mapping = mapping;
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
}

static void bad_arguments_are_refused(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct mm_struct *mm = f->mm;
	unsigned long addr = f->addr;

	mmap_read_lock(mm);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			device_exclusive_make_range(mm, addr, addr + PAGE_SIZE,
						    f->pages, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			device_exclusive_make_range(mm, addr, addr, f->pages,
						    &owner_a));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			device_exclusive_make_range(mm, addr + PAGE_SIZE, addr,
						    f->pages, &owner_a));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			device_exclusive_make_range(mm, addr + 8,
						    addr + PAGE_SIZE, f->pages,
						    &owner_a));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			device_exclusive_make_range(mm, addr, addr + 8,
						    f->pages, &owner_a));
	mmap_read_unlock(mm);
}

static void munmap_lets_the_page_go(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;
	long rss;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	page = f->pages[0];
	get_page(page);
	lock_page(page);
	rss = anon_rss(f);
	/* It does not wait for the lock, and the driver finds out later. */
	KUNIT_EXPECT_EQ(test, vm_munmap(f->addr, PAGE_SIZE), 0);
	unlock_page(page);
	lru_add_drain_all();
	KUNIT_EXPECT_EQ(test, anon_rss(f), rss - 1);
	KUNIT_EXPECT_EQ(test, page_mapcount(page), 0);
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	put_page(page);
}

/* A PMD-aligned huge page, or 0 where there is none to be had */
static unsigned long map_huge(struct fixture *f)
{
	unsigned long addr;

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE))
		return 0;
	addr = vm_mmap(NULL, 0, 2 * PMD_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	if (IS_ERR_VALUE(addr))
		return 0;
	addr = ALIGN(addr, PMD_SIZE);
	mmap_write_lock(f->mm);
	find_vma(f->mm, addr)->vm_flags |= VM_HUGEPAGE;
	mmap_write_unlock(f->mm);
	if (cpu_write(addr, 7) || mm_find_pmd(f->mm, addr))
		return 0;
	return addr;
}

static void huge_page_stays_whole_and_every_subpage_is_had(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr = map_huge(f);
	struct page *head;
	int i, n;

	if (!addr) {
		kunit_info(test, "no huge page to be had\n");
		return;
	}
	n = make(f, addr, NHUGE, &owner_a);
	KUNIT_EXPECT_EQ(test, n, (int)NHUGE);
	head = f->pages[0];
	KUNIT_EXPECT_TRUE(test, PageTransHuge(head));
	KUNIT_EXPECT_TRUE(test, PageLocked(head));
	for (i = 0; i < n; i++) {
		KUNIT_EXPECT_PTR_EQ(test, f->pages[i], head + i);
		KUNIT_EXPECT_EQ(test, page_mapcount(f->pages[i]), 1);
		device_write(f->pages[i], i);
	}
	get_page(head);
	device_exclusive_put_range(f->pages, n);
	KUNIT_EXPECT_FALSE(test, PageLocked(head));
	KUNIT_EXPECT_TRUE(test, PageTransHuge(head));

	for (i = 0; i < n; i++)
		KUNIT_EXPECT_EQ(test, cpu_read(addr + i * PAGE_SIZE), (u64)i);
	/* one for each mapping, and ours */
	KUNIT_EXPECT_EQ(test, page_count(head), n + 1);
	put_page(head);
}

static int lock_thread(void *page)
{
	lock_page(page);
	while (!kthread_should_stop())
		msleep(20);
	unlock_page(page);
	return 0;
}

/*
 * It was locked once for all of its pages. Whoever waits for the lock has it as
 * soon as it is unlocked, if that is fair.
 */
static void put_unlocks_a_huge_page_once(struct kunit *test)
{
	int unfairness = sysctl_page_lock_unfairness;
	struct fixture *f = test->priv;
	unsigned long addr = map_huge(f);
	struct task_struct *thread;
	int tries = 0;

	if (!addr) {
		kunit_info(test, "no huge page to be had\n");
		return;
	}
	KUNIT_EXPECT_EQ(test, make(f, addr, 4, &owner_a), 4);
	sysctl_page_lock_unfairness = 0;
	thread = kthread_run(lock_thread, f->pages[0], "lock");
	KUNIT_EXPECT_FALSE(test, IS_ERR(thread));
	if (!IS_ERR(thread)) {
		while (!PageWaiters(f->pages[0]) && tries++ < 1000)
			msleep(20);
	}
	device_exclusive_put_range(f->pages, 4);
	if (!IS_ERR(thread)) {
		KUNIT_EXPECT_TRUE(test, PageLocked(f->pages[0]));
		kthread_stop(thread);
	}
	sysctl_page_lock_unfairness = unfairness;
}

/* and each of its pages is mapped where it was. */
static void huge_page_migrates(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr = map_huge(f);
	int i;

	if (!addr || !IS_ENABLED(CONFIG_MIGRATION)) {
		kunit_info(test, "no huge page to be had, or to be moved\n");
		return;
	}
	KUNIT_EXPECT_EQ(test, make(f, addr, 4, &owner_a), 4);
	for (i = 0; i < 4; i++)
		device_write(f->pages[i], i + 1);
	try_to_migrate(f->pages[0], 0);
	KUNIT_EXPECT_FALSE(test, page_mapped(f->pages[0]));
	remove_migration_ptes(f->pages[0], f->pages[0], false);
	device_exclusive_put_range(f->pages, 4);
	for (i = 0; i < 4; i++)
		KUNIT_EXPECT_EQ(test, cpu_read(addr + i * PAGE_SIZE),
				(u64)i + 1);
}

static void huge_page_with_another_mapping_is_for_later(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr = map_huge(f);
	struct page *head;

	if (!addr) {
		kunit_info(test, "no huge page to be had\n");
		return;
	}
	KUNIT_EXPECT_EQ(test, make_and_put(f, addr, 2, &owner_a), 2);
	head = f->pages[0];
	atomic_inc(compound_mapcount_ptr(head));
	KUNIT_EXPECT_EQ(test, -EAGAIN,
			make_and_put(f, addr + PAGE_SIZE, 1, &owner_a));
	KUNIT_EXPECT_FALSE(test, PageLocked(head));
	atomic_dec(compound_mapcount_ptr(head));
	KUNIT_EXPECT_EQ(test, make_and_put(f, addr, 2, &owner_a), 2);
}

static void count_ends_where_a_huge_page_comes_up_again(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr = map_huge(f);

	if (!addr) {
		kunit_info(test, "no huge page to be had\n");
		return;
	}
	/* A hole in the huge page, filled by a page of its own */
	mmap_read_lock(f->mm);
	zap_page_range(find_vma(f->mm, addr), addr + 2 * PAGE_SIZE, PAGE_SIZE);
	mmap_read_unlock(f->mm);
	KUNIT_EXPECT_EQ(test, make_and_put(f, addr, 5, &owner_a), 3);
	KUNIT_EXPECT_EQ(test, make_and_put(f, addr + 3 * PAGE_SIZE, 2,
					   &owner_a), 2);
}

static void call_ends_at_the_page_table_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr;

	addr = vm_mmap(NULL, 0, 2 * PMD_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	addr = ALIGN(addr + 2 * PAGE_SIZE, PMD_SIZE) - 2 * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, make_and_put(f, addr, 4, &owner_a), 2);
	/* Nor does it look at what is behind. */
	KUNIT_EXPECT_EQ(test, f->end, addr + 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, make_and_put(f, addr + 2 * PAGE_SIZE, 2,
					   &owner_a), 2);
}

/*
 * Drivers that track the writes to a file's pages have the PTEs of shared
 * mappings write-protected and cleaned. Put an entry there to be met.
 */
static void dirty_tracking_leaves_an_entry_alone(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct address_space *mapping;
	unsigned long addr, bitmap = 0;
	pgoff_t first = 0, last = 0;
	pte_t present, entry;

	addr = map(PROT_READ | PROT_WRITE, MAP_SHARED);
	if (IS_ERR_VALUE(addr)) {
		kunit_info(test, "no shared memory to be had\n");
		return;
	}
	KUNIT_EXPECT_EQ(test, cpu_write(addr, 1), 0);
	mapping = find_vma(f->mm, addr)->vm_file->f_mapping;
	present = read_pte(f, addr);
	entry = swp_entry_to_pte(make_device_exclusive_entry(pte_pfn(present)));
	entry = pte_swp_mksoft_dirty(entry);
	write_entry(f, addr, entry);

	KUNIT_EXPECT_EQ(test, wp_shared_mapping_range(mapping, 0, 1), 0UL);
	KUNIT_EXPECT_EQ(test, 0UL,
			clean_record_shared_mapping_range(mapping, 0, 1, 0,
							  &bitmap, &first,
							  &last));
	KUNIT_EXPECT_EQ(test, pte_val(read_pte(f, addr)), pte_val(entry));
	KUNIT_EXPECT_EQ(test, bitmap, 0UL);
	write_entry(f, addr, present);
}

/* Restore the entry at @addr as a walker of page tables does. */
static struct page *walker_restore(struct fixture *f, unsigned long addr)
{
	struct vm_area_struct *vma;
	struct page *busy;
	spinlock_t *ptl;
	pte_t *ptep;

	mmap_read_lock(f->mm);
	vma = find_vma(f->mm, addr);
	ptep = pte_offset_map_lock(f->mm, mm_find_pmd(f->mm, addr), addr, &ptl);
	busy = device_exclusive_restore(vma, addr, ptep);
	pte_unmap_unlock(ptep, ptl);
	mmap_read_unlock(f->mm);
	return busy;
}

static void walker_gets_a_locked_page_with_a_reference(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;
	int count;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	lru_add_drain_all();
	page = f->pages[0];
	count = page_count(page);
	lock_page(page);
	KUNIT_EXPECT_PTR_EQ(test, walker_restore(f, f->addr), page);
	KUNIT_EXPECT_EQ(test, page_count(page), count + 1);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, f->addr));
	unlock_page(page);
	device_exclusive_wait(page);
	KUNIT_EXPECT_EQ(test, page_count(page), count);
	KUNIT_EXPECT_TRUE(test, !walker_restore(f, f->addr));
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	KUNIT_EXPECT_FALSE(test, pte_young(read_pte(f, f->addr)));
}

/* A driver that is done with a page after a while */
struct holder {
	struct delayed_work work;
	struct page *page;
	bool done;
};

static void holder_work(struct work_struct *work)
{
	struct holder *holder = container_of(work, struct holder, work.work);

	WRITE_ONCE(holder->done, true);
	unlock_page(holder->page);
}

static void walker_waits_for_who_has_the_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct holder holder = { .done = false };

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	holder.page = f->pages[0];
	lock_page(holder.page);
	KUNIT_EXPECT_PTR_EQ(test, walker_restore(f, f->addr), holder.page);
	INIT_DELAYED_WORK_ONSTACK(&holder.work, holder_work);
	schedule_delayed_work(&holder.work, HZ / 20);
	device_exclusive_wait(holder.page);
	KUNIT_EXPECT_TRUE(test, READ_ONCE(holder.done));
	flush_delayed_work(&holder.work);
	destroy_delayed_work_on_stack(&holder.work);
}

/* Restore the first pages as migrate_vma_setup() does before it collects. */
static void restore_range(struct fixture *f, int npages)
{
	mmap_read_lock(f->mm);
	device_exclusive_restore_range(find_vma(f->mm, f->addr), f->addr,
				       f->addr + npages * PAGE_SIZE);
	mmap_read_unlock(f->mm);
}

static int count_exclusive(struct fixture *f)
{
	int i, n = 0;

	for (i = 0; i < NPAGES; i++)
		n += is_exclusive(f, f->addr + i * PAGE_SIZE);
	return n;
}

static void note_exclusive(struct fixture *f)
{
	f->nr_exclusive = count_exclusive(f);
}

/* Its caller is about to send an event that the driver may ignore. */
static void restored_range_is_announced_first(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a),
			NPAGES);
	f->events = 0;
	f->when_told = note_exclusive;
	restore_range(f, 3);
	KUNIT_EXPECT_EQ(test, f->events, 1);
	KUNIT_EXPECT_TRUE(test, !f->owner);
	KUNIT_EXPECT_EQ(test, f->start, f->addr);
	KUNIT_EXPECT_EQ(test, f->end, f->addr + 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, f->nr_exclusive, NPAGES);
	KUNIT_EXPECT_EQ(test, count_exclusive(f), NPAGES - 3);
	KUNIT_EXPECT_TRUE(test, pte_present(read_pte(f, f->addr)));

	/* Where there is no entry, nobody has to hear. */
	restore_range(f, 3);
	KUNIT_EXPECT_EQ(test, f->events, 1);
}

static void restored_range_leaves_a_locked_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;
	int count;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 3, &owner_a), 3);
	lru_add_drain_all();
	page = f->pages[1];
	count = page_count(page);
	lock_page(page);
	restore_range(f, 3);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, f->addr + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, count_exclusive(f), 1);
	KUNIT_EXPECT_EQ(test, page_count(page), count);
	KUNIT_EXPECT_TRUE(test, PageLocked(page));
	unlock_page(page);
}

#ifdef CONFIG_VM_EVENT_COUNTERS

static void vmstat_counts_each_kind(struct kunit *test)
{
	static unsigned long old[NR_VM_EVENT_ITEMS], new[NR_VM_EVENT_ITEMS];
	struct fixture *f = test->priv;

	all_vm_events(old);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 5, &owner_a), 5);
	cpu_read(f->addr);
	cpu_write(f->addr + 2 * PAGE_SIZE, 1);
	KUNIT_EXPECT_TRUE(test, !walker_restore(f, f->addr + 4 * PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, make(f, f->addr, 1, NULL), -EINVAL);
	all_vm_events(new);

	KUNIT_EXPECT_EQ(test, new[DEVICE_EXCLUSIVE_MAKE],
			old[DEVICE_EXCLUSIVE_MAKE] + 5);
	KUNIT_EXPECT_EQ(test, new[DEVICE_EXCLUSIVE_FAULT],
			old[DEVICE_EXCLUSIVE_FAULT] + 2);
	KUNIT_EXPECT_EQ(test, new[DEVICE_EXCLUSIVE_RESTORE],
			old[DEVICE_EXCLUSIVE_RESTORE] + 1);
	KUNIT_EXPECT_EQ(test, new[DEVICE_EXCLUSIVE_REFUSED],
			old[DEVICE_EXCLUSIVE_REFUSED] + 1);
}

#else

static void vmstat_counts_each_kind(struct kunit *test)
{
	kunit_info(test, "this kernel does not count\n");
}

#endif /* CONFIG_VM_EVENT_COUNTERS */

#ifdef CONFIG_TRACEPOINTS

/* What a trace event has said last */
struct traced {
	struct mm_struct *mm;
	unsigned long start, end;
	int npages;
	int error;
	void *owner;
};

static void trace_make(void *data, struct mm_struct *mm, unsigned long start,
		       unsigned long end, int npages, void *owner)
{
	*(struct traced *)data = (struct traced){
		.mm = mm, .start = start, .end = end,
		.npages = npages, .owner = owner,
	};
}

static void trace_refused(void *data, struct mm_struct *mm,
			  unsigned long start, unsigned long end, int error,
			  void *owner)
{
	*(struct traced *)data = (struct traced){
		.mm = mm, .start = start, .end = end,
		.error = error, .owner = owner,
	};
}

static void trace_back(void *data, struct mm_struct *mm, unsigned long start,
		       int npages)
{
	*(struct traced *)data = (struct traced){
		.mm = mm, .start = start, .npages = npages,
	};
}

static void trace_events_say_what_happens(struct kunit *test)
{
	struct traced make_seen = {}, refused = {}, broken = {}, restored = {};
	struct fixture *f = test->priv;
	unsigned long end = f->addr + 5 * PAGE_SIZE;

	vm_munmap(f->addr + 3 * PAGE_SIZE, PAGE_SIZE);
	register_trace_device_exclusive_make(trace_make, &make_seen);
	register_trace_device_exclusive_refused(trace_refused, &refused);
	register_trace_device_exclusive_break(trace_back, &broken);
	register_trace_device_exclusive_restore(trace_back, &restored);

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 5, &owner_a), 3);
	cpu_read(f->addr + PAGE_SIZE);
	walker_restore(f, f->addr + 2 * PAGE_SIZE);
	make(f, 0, 1, &owner_b);

	unregister_trace_device_exclusive_make(trace_make, &make_seen);
	unregister_trace_device_exclusive_refused(trace_refused, &refused);
	unregister_trace_device_exclusive_break(trace_back, &broken);
	unregister_trace_device_exclusive_restore(trace_back, &restored);
	tracepoint_synchronize_unregister();

	KUNIT_EXPECT_PTR_EQ(test, make_seen.mm, f->mm);
	KUNIT_EXPECT_EQ(test, make_seen.start, f->addr);
	KUNIT_EXPECT_EQ(test, make_seen.end, end);
	KUNIT_EXPECT_EQ(test, make_seen.npages, 3);
	KUNIT_EXPECT_PTR_EQ(test, make_seen.owner, (void *)&owner_a);

	KUNIT_EXPECT_EQ(test, refused.start, 0UL);
	KUNIT_EXPECT_EQ(test, refused.end, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, refused.error, -EFAULT);
	KUNIT_EXPECT_PTR_EQ(test, refused.owner, (void *)&owner_b);

	KUNIT_EXPECT_EQ(test, broken.start, f->addr + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, broken.npages, 1);
	KUNIT_EXPECT_EQ(test, restored.start, f->addr + 2 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, restored.npages, 1);
}

#else

static void trace_events_say_what_happens(struct kunit *test)
{
	kunit_info(test, "this kernel does not trace\n");
}

#endif /* CONFIG_TRACEPOINTS */

struct late_unlock {
	struct delayed_work work;
	struct page *page;
	/* Where another page takes its place, if any */
	struct fixture *replace;
};

static void replace_first(struct fixture *f)
{
	kthread_use_mm(f->mm);
	zap_page_range(find_vma(f->mm, f->addr), f->addr, PAGE_SIZE);
	cpu_write(f->addr, 3);
	kthread_unuse_mm(f->mm);
}

static void unlock_late(struct work_struct *work)
{
	struct late_unlock *late;

	late = container_of(to_delayed_work(work), struct late_unlock, work);
	if (late->replace)
		replace_first(late->replace);
	unlock_page(late->page);
}

static void make_waits_for_the_lock_of_the_first_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct late_unlock late = {};

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	late.page = f->pages[0];
	lock_page(late.page);
	INIT_DELAYED_WORK_ONSTACK(&late.work, unlock_late);
	schedule_delayed_work(&late.work, HZ / 10);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	flush_delayed_work(&late.work);
	destroy_delayed_work_on_stack(&late.work);
}

static void make_looks_again_at_the_first_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct late_unlock late = { .replace = f };

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	late.page = f->pages[0];
	get_page(late.page);
	lock_page(late.page);
	INIT_DELAYED_WORK_ONSTACK(&late.work, unlock_late);
	schedule_delayed_work(&late.work, HZ / 10);
	KUNIT_EXPECT_EQ(test, make(f, f->addr, 1, &owner_a), 1);
	KUNIT_EXPECT_TRUE(test, f->pages[0] != late.page);
	KUNIT_EXPECT_FALSE(test, PageLocked(late.page));
	KUNIT_EXPECT_TRUE(test, PageLocked(f->pages[0]));
	device_exclusive_put_range(f->pages, 1);
	flush_delayed_work(&late.work);
	destroy_delayed_work_on_stack(&late.work);
	lru_add_drain_all();
	KUNIT_EXPECT_EQ(test, page_count(late.page), 1);
	put_page(late.page);
	KUNIT_EXPECT_EQ(test, cpu_read(f->addr), (u64)3);
}

static void restore_asks_the_vma_of_today(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct vm_area_struct *vma;
	pte_t pte;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	mmap_write_lock(f->mm);
	vma = find_vma(f->mm, f->addr);
	vma->vm_flags &= ~VM_WRITE;
	vma_set_page_prot(vma);
	mmap_write_unlock(f->mm);

	cpu_read(f->addr);
	pte = read_pte(f, f->addr);
	KUNIT_EXPECT_TRUE(test, pte_present(pte));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
	/* Dirty and read-only would mean that copy-on-write has been done. */
	KUNIT_EXPECT_FALSE(test, pte_dirty(pte));
	/* But that the device may have written is to be seen. */
	KUNIT_EXPECT_TRUE(test, pte_soft_dirty(pte) ||
			  !IS_ENABLED(CONFIG_MEM_SOFT_DIRTY));
}

static void other_events_have_no_owner(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 2, &owner_a), 2);
	mmap_read_lock(f->mm);
	zap_page_range(find_vma(f->mm, f->addr), f->addr, PAGE_SIZE);
	mmap_read_unlock(f->mm);
	KUNIT_EXPECT_EQ(test, vm_munmap(f->addr, 2 * PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, f->other_events, 2);
	KUNIT_EXPECT_EQ(test, f->other_owners, 0);
}

/* The way of reclaim, which must not look for a young bit in the entry */
static void page_referenced_asks_the_device(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long vm_flags;
	pte_t pte;

	KUNIT_EXPECT_EQ(test, make(f, f->addr, 1, &owner_a), 1);
	pte = read_pte(f, f->addr);
	/* That the CPU had it before */
	test_and_clear_page_young(f->pages[0]);
	KUNIT_EXPECT_EQ(test, 0,
			page_referenced(f->pages[0], 1, NULL, &vm_flags));
	f->young = true;
	KUNIT_EXPECT_EQ(test, 1,
			page_referenced(f->pages[0], 1, NULL, &vm_flags));
	KUNIT_EXPECT_TRUE(test, pte_same(read_pte(f, f->addr), pte));
	device_exclusive_put_range(f->pages, 1);
}

#ifdef CONFIG_IDLE_PAGE_TRACKING
/* Is the page of @pfn idle, as /sys/kernel/mm/page_idle/bitmap has it? Set it so. */
static bool is_idle(unsigned long pfn, bool set)
{
	struct kernfs_node *dir = kernfs_find_and_get(mm_kobj->sd, "page_idle");
	struct kernfs_node *kn = kernfs_find_and_get(dir, "bitmap");
	struct bin_attribute *attr = kn->priv;
	u64 bits = BIT_ULL(pfn % 64);

	if (set)
		attr->write(NULL, mm_kobj, attr, (char *)&bits,
			    pfn / 64 * sizeof(bits), sizeof(bits));
	attr->read(NULL, mm_kobj, attr, (char *)&bits,
		   pfn / 64 * sizeof(bits), sizeof(bits));
	kernfs_put(kn);
	kernfs_put(dir);
	return bits & BIT_ULL(pfn % 64);
}

static void page_that_a_device_uses_is_not_idle(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long pfn;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	lru_add_drain_all();
	pfn = page_to_pfn(f->pages[0]);
	KUNIT_EXPECT_TRUE(test, is_idle(pfn, true));
	f->young = true;
	KUNIT_EXPECT_FALSE(test, is_idle(pfn, false));
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, f->addr));
}
#endif

static void end_of_migration_leaves_the_entry(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_MIGRATION))
		return;

	KUNIT_EXPECT_EQ(test, make(f, f->addr, 1, &owner_a), 1);
	page = f->pages[0];
	pte = read_pte(f, f->addr);
	remove_migration_ptes(page, page, false);
	KUNIT_EXPECT_TRUE(test, pte_same(read_pte(f, f->addr), pte));
	KUNIT_EXPECT_EQ(test, page_mapcount(page), 1);
	device_exclusive_put_range(f->pages, 1);
}

/* Whatever has become of the page's own flag since */
static void entry_counts_as_a_dirty_mapping(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	if (!IS_ENABLED(CONFIG_MIGRATION))
		return;

	KUNIT_EXPECT_EQ(test, make(f, f->addr, 1, &owner_a), 1);
	page = f->pages[0];
	ClearPageDirty(page);
	try_to_migrate(page, 0);
	KUNIT_EXPECT_TRUE(test, PageDirty(page));
	KUNIT_EXPECT_EQ(test, page_mapcount(page), 0);
	remove_migration_ptes(page, page, false);
	KUNIT_EXPECT_TRUE(test, pte_write(read_pte(f, f->addr)));
	device_exclusive_put_range(f->pages, 1);
}

/* MADV_FREE comes before the device writes, and is over by that. */
static void lazily_free_page_is_not_dropped(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	KUNIT_EXPECT_EQ(test, make(f, f->addr, 1, &owner_a), 1);
	lru_add_drain_all();
	page = f->pages[0];
	ClearPageSwapBacked(page);
	ClearPageDirty(page);
	KUNIT_EXPECT_FALSE(test, try_to_unmap(page, TTU_IGNORE_MLOCK));
	KUNIT_EXPECT_TRUE(test, PageDirty(page));
	KUNIT_EXPECT_TRUE(test, PageSwapBacked(page));
	KUNIT_EXPECT_EQ(test, page_mapcount(page), 1);
	device_exclusive_put_range(f->pages, 1);
	KUNIT_EXPECT_PTR_EQ(test, pte_page(read_pte(f, f->addr)), page);
}

/* Migrate the page of an entry that has been changed by @change to itself. */
static pte_t migrate_changed(struct kunit *test, pte_t (*change)(pte_t))
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make(f, f->addr, 1, &owner_a), 1);
	write_entry(f, f->addr, change(read_pte(f, f->addr)));
	ClearPageDirty(f->pages[0]);
	try_to_migrate(f->pages[0], 0);
	KUNIT_EXPECT_EQ(test, page_mapcount(f->pages[0]), 0);
	/* by what the device has written before */
	KUNIT_EXPECT_TRUE(test, PageDirty(f->pages[0]));
	remove_migration_ptes(f->pages[0], f->pages[0], false);
	device_exclusive_put_range(f->pages, 1);
	KUNIT_EXPECT_TRUE(test, pte_present(read_pte(f, f->addr)));
	return read_pte(f, f->addr);
}

static void migration_does_not_lose_soft_dirty(struct kunit *test)
{
	pte_t pte;

	if (!IS_ENABLED(CONFIG_MIGRATION) || !IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		return;

	pte = migrate_changed(test, pte_swp_mksoft_dirty);
	KUNIT_EXPECT_TRUE(test, pte_soft_dirty(pte));
	KUNIT_EXPECT_TRUE(test, pte_write(pte));
	/* It has been cleared: the next write is to be seen. */
	pte = migrate_changed(test, pte_swp_clear_soft_dirty);
	KUNIT_EXPECT_FALSE(test, pte_soft_dirty(pte));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
}

static void migration_does_not_lose_uffd_wp(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_MIGRATION) ||
	    !IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP))
		return;

	find_vma(f->mm, f->addr)->vm_flags |= VM_UFFD_WP;
	pte = migrate_changed(test, pte_swp_mkuffd_wp);
	find_vma(f->mm, f->addr)->vm_flags &= ~VM_UFFD_WP;
	KUNIT_EXPECT_TRUE(test, pte_uffd_wp(pte));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
}

/* What KVM and VFIO use to find memory that has no struct page */
static void follow_pte_finds_nothing(struct kunit *test)
{
	struct fixture *f = test->priv;
	spinlock_t *ptl;
	pte_t *ptep;
	int err;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	mmap_read_lock(f->mm);
	err = follow_pte(f->mm, f->addr, &ptep, &ptl);
	if (!err) {
		/* which it does not say to sparse */
		__acquire(ptl);
		pte_unmap_unlock(ptep, ptl);
	}
	mmap_read_unlock(f->mm);
	KUNIT_EXPECT_EQ(test, err, -EINVAL);
}

#ifdef CONFIG_NUMA_BALANCING

/* A hint where the CPU is would come from a fault, which takes the page back. */
static void numa_balancing_leaves_the_entry(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	KUNIT_EXPECT_EQ(test, cpu_write(f->addr + PAGE_SIZE, 1), 0);
	pte = read_pte(f, f->addr);
	/* For a single thread, memory near it would be left alone. */
	mmget(f->mm);
	/* as would be what has another reference */
	lru_add_drain_all();
	mmap_read_lock(f->mm);
	KUNIT_EXPECT_EQ(test, 1UL,
			change_prot_numa(find_vma(f->mm, f->addr), f->addr,
					 f->addr + 2 * PAGE_SIZE));
	mmap_read_unlock(f->mm);
	mmput(f->mm);
	KUNIT_EXPECT_TRUE(test, pte_same(read_pte(f, f->addr), pte));
	KUNIT_EXPECT_TRUE(test,
			  pte_protnone(read_pte(f, f->addr + PAGE_SIZE)));
}

static unsigned long numa_hint_faults(void)
{
	static unsigned long events[NR_VM_EVENT_ITEMS];

	all_vm_events(events);
	return events[NUMA_HINT_FAULTS];
}

/* It tells which node's CPUs use the page, before the device does. */
static void hint_is_not_passed_over(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long before;

	if (!IS_ENABLED(CONFIG_VM_EVENT_COUNTERS))
		return;
	KUNIT_EXPECT_EQ(test, cpu_write(f->addr, 1), 0);
	mmget(f->mm);
	lru_add_drain_all();
	mmap_read_lock(f->mm);
	change_prot_numa(find_vma(f->mm, f->addr), f->addr,
			 f->addr + PAGE_SIZE);
	mmap_read_unlock(f->mm);
	mmput(f->mm);
	KUNIT_EXPECT_TRUE(test, pte_protnone(read_pte(f, f->addr)));
	before = numa_hint_faults();
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	KUNIT_EXPECT_EQ(test, numa_hint_faults(), before + 1);
}

#else

static void numa_balancing_leaves_the_entry(struct kunit *test)
{
	kunit_info(test, "this kernel does not balance\n");
}

static void hint_is_not_passed_over(struct kunit *test)
{
}

#endif /* CONFIG_NUMA_BALANCING */

/* An error is about the first page. Seen before there is one, nothing is written. */
static void error_leaves_the_array_alone(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *nobody = (struct page *)&owner_a;
	int i;

	for (i = 0; i < NPAGES; i++)
		f->pages[i] = nobody;
	vm_munmap(f->addr, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, make(f, f->addr, NPAGES, &owner_a), -EFAULT);
	for (i = 0; i < NPAGES; i++)
		KUNIT_EXPECT_PTR_EQ(test, f->pages[i], nobody);
}

/* The VMA that @f->addr is in has these flags from now on. */
static void change_vma_flags(struct fixture *f, unsigned long set,
			     unsigned long clear)
{
	struct vm_area_struct *vma;

	mmap_write_lock(f->mm);
	vma = find_vma(f->mm, f->addr);
	vma->vm_flags = (vma->vm_flags & ~clear) | set;
	mmap_write_unlock(f->mm);
}

/* What has no page, or one that belongs to a driver, and is writable all the same */
static void memory_of_drivers_is_refused(struct kunit *test)
{
	static const unsigned long flags[] = { VM_IO, VM_PFNMAP, VM_MIXEDMAP };
	struct fixture *f = test->priv;
	int i;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	for (i = 0; i < ARRAY_SIZE(flags); i++) {
		change_vma_flags(f, flags[i], 0);
		KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
				make_and_put(f, f->addr, 1, &owner_b));
		change_vma_flags(f, 0, flags[i]);
	}
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_b), 1);
}

static void takeover_wants_a_vma_that_is_writable_now(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_a), 1);
	change_vma_flags(f, 0, VM_WRITE);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_b), -EFAULT);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, f->addr));
	change_vma_flags(f, VM_WRITE, 0);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 1, &owner_b), 1);
}

static void takeover_wants_an_entry_without_uffd_wp(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP))
		return;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 2, &owner_a), 2);
	change_vma_flags(f, VM_UFFD_WP, 0);
	pte = read_pte(f, f->addr + PAGE_SIZE);
	write_entry(f, f->addr + PAGE_SIZE, pte_swp_mkuffd_wp(pte));
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 2, &owner_b), 1);
	KUNIT_EXPECT_EQ(test, -EFAULT,
			make_and_put(f, f->addr + PAGE_SIZE, 1, &owner_b));
	change_vma_flags(f, 0, VM_UFFD_WP);
}

/* The OOM reaper may not sleep, whoever has the pages locked. */
static void oom_reaper_takes_pages_that_are_locked(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a),
			NPAGES);
	page = f->pages[0];
	get_page(page);
	lock_page(page);
	mmap_read_lock(f->mm);
	KUNIT_EXPECT_TRUE(test, __oom_reap_task_mm(f->mm));
	mmap_read_unlock(f->mm);
	KUNIT_EXPECT_TRUE(test, pte_none(read_pte(f, f->addr)));
	KUNIT_EXPECT_EQ(test, anon_rss(f), 0L);
	KUNIT_EXPECT_TRUE(test, PageLocked(page));
	unlock_page(page);
	lru_add_drain_all();
	KUNIT_EXPECT_EQ(test, page_count(page), 1);
	put_page(page);
}

/* Touch @f->addr as another thread of the program would. */
static int touch_thread(void *data)
{
	struct fixture *f = data;

	kthread_use_mm(f->mm);
	cpu_read(f->addr);
	kthread_unuse_mm(f->mm);
	return 0;
}

/*
 * Somebody who waits for a driver to unlock the page must not rely on the entry
 * for the page to stay: it can be zapped any time.
 */
static void fault_waits_with_a_reference(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct task_struct *thread;
	int count, tries = 0;

	KUNIT_EXPECT_EQ(test, make(f, f->addr, 1, &owner_a), 1);
	lru_add_drain_all();
	count = page_count(f->pages[0]);
	thread = kthread_create(touch_thread, f, "touch");
	if (!IS_ERR(thread)) {
		get_task_struct(thread);
		wake_up_process(thread);
		while (page_count(f->pages[0]) == count && tries++ < 1000)
			msleep(20);
		KUNIT_EXPECT_EQ(test, page_count(f->pages[0]), count + 1);
	}
	device_exclusive_put_range(f->pages, 1);
	if (!IS_ERR(thread)) {
		kthread_stop(thread);
		put_task_struct(thread);
	}
	KUNIT_EXPECT_FALSE(test, IS_ERR(thread));
	KUNIT_EXPECT_FALSE(test, is_exclusive(f, f->addr));
	/* That of make() is gone, and so is that of the thread. */
	KUNIT_EXPECT_EQ(test, page_count(f->pages[0]), count - 1);
}

/*
 * Write to all pages as another thread of the program would, but for faults. What
 * comes through is by the TLB, or a mapping.
 */
static int write_thread(void *data)
{
	struct fixture *f = data;
	u64 n = 0;

	kthread_use_mm(f->mm);
	while (!kthread_should_stop()) {
		pagefault_disable();
		cpu_write(f->addr + n % NPAGES * PAGE_SIZE, n);
		n++;
		pagefault_enable();
		cond_resched();
	}
	kthread_unuse_mm(f->mm);
	return 0;
}

static u64 sum_up(struct fixture *f)
{
	u64 sum = 0;
	int i;

	for (i = 0; i < NPAGES; i++) {
		sum += READ_ONCE(*(u64 *)kmap(f->pages[i]));
		kunmap(f->pages[i]);
	}
	return sum;
}

/* Does write_thread() get through to any of the pages? */
static bool is_written(struct fixture *f)
{
	u64 sum = sum_up(f);
	int i;

	for (i = 0; i < 10 && sum_up(f) == sum; i++)
		msleep(20);
	return i < 10;
}

/* It has them in the TLB of another CPU, if there is one. */
static void no_cpu_writes_while_a_driver_has_the_pages(struct kunit *test)
{
	unsigned int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	struct fixture *f = test->priv;
	struct task_struct *thread;
	int i;

	for (i = 0; i < NPAGES; i++) {
		cpu_write(f->addr + i * PAGE_SIZE, 0);
		f->pages[i] = pte_page(read_pte(f, f->addr + i * PAGE_SIZE));
	}
	thread = kthread_create(write_thread, f, "write");
	KUNIT_EXPECT_FALSE(test, IS_ERR(thread));
	if (IS_ERR(thread))
		return;
	if (cpu < nr_cpu_ids)
		kthread_bind(thread, cpu);
	wake_up_process(thread);
	KUNIT_EXPECT_TRUE(test, is_written(f));
	KUNIT_EXPECT_EQ(test, make(f, f->addr, NPAGES, &owner_a), NPAGES);
	KUNIT_EXPECT_FALSE(test, is_written(f));
	device_exclusive_put_range(f->pages, NPAGES);
	kthread_stop(thread);
}

static void lose_first(struct fixture *f)
{
	write_entry(f, f->addr, __pte(0));
}

/* What a fault found is looked at again when everybody has been told. */
static void entry_gone_meanwhile_is_not_restored(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;
	pte_t entry;

	KUNIT_EXPECT_EQ(test, make(f, f->addr, 1, &owner_a), 1);
	page = f->pages[0];
	device_write(page, 7);
	get_page(page);
	device_exclusive_put_range(f->pages, 1);
	entry = read_pte(f, f->addr);
	f->when_told = lose_first;
	KUNIT_EXPECT_EQ(test, cpu_read(f->addr), (u64)0);
	f->when_told = NULL;
	KUNIT_EXPECT_EQ(test, page_mapcount(page), 1);
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	lru_add_drain_all();
	KUNIT_EXPECT_EQ(test, page_count(page), 2);
	put_page(page);
	/* What has been mapped since leaves the TLB before the entry comes back. */
	zap_page_range(find_vma(f->mm, f->addr), f->addr, PAGE_SIZE);
	write_entry(f, f->addr, entry);
}

static unsigned long page_addr(struct fixture *f, int i)
{
	return f->addr + i * PAGE_SIZE;
}

/* Read some pages, one after the other. Returns the length of the last event. */
static int scan(struct fixture *f, int first, int last)
{
	int i, step = first < last ? 1 : -1;

	for (i = first; i != last + step; i += step)
		cpu_read(page_addr(f, i));
	return (f->end - f->start) >> PAGE_SHIFT;
}

/* As many pages as a page-table page maps, exclusive, in place of the few */
static void make_many(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr;

	addr = vm_mmap(NULL, 0, 2 * PMD_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	f->addr = ALIGN(addr, PMD_SIZE);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NHUGE, &owner_a),
			(int)NHUGE);
	f->events = 0;
}

/* Read all of them upwards or downwards; each event is as long as it has to be. */
static void expect_growing_window(struct kunit *test, bool down)
{
	struct fixture *f = test->priv;
	int i, events, window = 1, done = 0;

	for (i = 0; i < NHUGE; i++) {
		int page = down ? NHUGE - 1 - i : i;

		events = f->events;
		KUNIT_EXPECT_EQ(test, cpu_read(page_addr(f, page)), (u64)0);
		if (f->events == events)
			continue;
		KUNIT_EXPECT_EQ(test, i, done);
		window = min_t(int, window, NHUGE - done);
		KUNIT_EXPECT_EQ(test, f->end - f->start, window * PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, down ? f->end - PAGE_SIZE : f->start,
				page_addr(f, page));
		done += window;
		/* 1, 1, 2, 4 and so on */
		if (i)
			window = min_t(int, 2 * window, device_exclusive_window);
	}
	KUNIT_EXPECT_EQ(test, done, (int)NHUGE);
}

static void window_of_a_scan_doubles(struct kunit *test)
{
	struct fixture *f = test->priv;

	make_many(test);
	expect_growing_window(test, false);
	KUNIT_EXPECT_LE(test, f->events, 12);
}

static void scan_may_go_downwards(struct kunit *test)
{
	struct fixture *f = test->priv;

	make_many(test);
	expect_growing_window(test, true);
	KUNIT_EXPECT_LE(test, f->events, 12);
}

static void scan_of_a_huge_page_is_a_scan(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr = map_huge(f);

	if (!addr) {
		kunit_info(test, "no huge page to be had\n");
		return;
	}
	f->addr = addr;
	KUNIT_EXPECT_EQ(test, make_and_put(f, addr, NHUGE, &owner_a),
			(int)NHUGE);
	f->events = 0;
	scan(f, 0, NHUGE - 1);
	KUNIT_EXPECT_LE(test, f->events, 12);
	KUNIT_EXPECT_FALSE(test, PageLocked(f->pages[0]));
}

static void touch_at_random_restores_one_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	make_many(test);
	for (i = 0; i < NHUGE; i++) {
		cpu_read(page_addr(f, i * 37 % NHUGE));
		KUNIT_EXPECT_EQ(test, f->events, i + 1);
		KUNIT_EXPECT_EQ(test, f->end - f->start, PAGE_SIZE);
	}
}

static void window_is_capped(struct kunit *test)
{
	unsigned int window = device_exclusive_window;

	device_exclusive_window = 4;
	make_many(test);
	expect_growing_window(test, false);
	device_exclusive_window = window;
}

static void window_of_one_page_is_no_window(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned int window = device_exclusive_window;

	device_exclusive_window = 1;
	make_many(test);
	KUNIT_EXPECT_EQ(test, scan(f, 0, NHUGE - 1), 1);
	KUNIT_EXPECT_EQ(test, f->events, (int)NHUGE);
	device_exclusive_window = window;
}

static void pages_ahead_are_counted_apart(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long *before, *after;

	before = kunit_kzalloc(test, NR_VM_EVENT_ITEMS * sizeof(*before),
			       GFP_KERNEL);
	after = kunit_kzalloc(test, NR_VM_EVENT_ITEMS * sizeof(*after),
			      GFP_KERNEL);
	if (!before || !after)
		return;
	make_many(test);
	all_vm_events(before);
	scan(f, 0, NHUGE - 1);
	all_vm_events(after);
	KUNIT_EXPECT_EQ(test, after[DEVICE_EXCLUSIVE_FAULT] -
			before[DEVICE_EXCLUSIVE_FAULT],
			(unsigned long)f->events);
	KUNIT_EXPECT_EQ(test, after[DEVICE_EXCLUSIVE_AHEAD] -
			before[DEVICE_EXCLUSIVE_AHEAD], NHUGE - f->events);
}

/*
 * The cases below make all pages exclusive, and read the first ones. The third
 * read restores the fourth page with the third, unless something is in the way.
 */
static void make_all(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, NPAGES, &owner_a),
			NPAGES);
	f->events = 0;
}

static void pages_ahead_come_back_old(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	make_all(test);
	KUNIT_EXPECT_EQ(test, scan(f, 0, 2), 2);
	pte = read_pte(f, page_addr(f, 3));
	KUNIT_EXPECT_TRUE(test, pte_present(pte));
	KUNIT_EXPECT_FALSE(test, pte_young(pte));
	KUNIT_EXPECT_TRUE(test, pte_write(pte));
	KUNIT_EXPECT_TRUE(test, pte_dirty(pte));
	KUNIT_EXPECT_FALSE(test, PageLocked(f->pages[3]));
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, page_addr(f, 4)));
}

static void pages_ahead_must_have_been_used(struct kunit *test)
{
	struct fixture *f = test->priv;

	make_all(test);
	scan(f, 0, 2);
	KUNIT_EXPECT_EQ(test, scan(f, 4, 4), 1);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, page_addr(f, 5)));
}

static void pages_that_a_device_took_again_end_the_scan(struct kunit *test)
{
	struct fixture *f = test->priv;

	make_all(test);
	scan(f, 0, 1);
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 2, &owner_a), 2);
	KUNIT_EXPECT_EQ(test, scan(f, 2, 2), 1);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, page_addr(f, 3)));
}

static void scan_does_not_turn_round(struct kunit *test)
{
	struct fixture *f = test->priv;

	make_all(test);
	KUNIT_EXPECT_EQ(test, scan(f, 2, 5), 2);
	KUNIT_EXPECT_EQ(test, make_and_put(f, page_addr(f, 2), 2, &owner_a), 2);
	KUNIT_EXPECT_EQ(test, scan(f, 3, 3), 1);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, page_addr(f, 2)));
}

#ifdef CONFIG_TRACEPOINTS

static void trace_event_has_all_pages_of_a_window(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct traced broken = {};

	make_all(test);
	register_trace_device_exclusive_break(trace_back, &broken);
	scan(f, 6, 4);
	unregister_trace_device_exclusive_break(trace_back, &broken);
	tracepoint_synchronize_unregister();
	KUNIT_EXPECT_EQ(test, broken.start, page_addr(f, 3));
	KUNIT_EXPECT_EQ(test, broken.npages, 2);
}

#else

static void trace_event_has_all_pages_of_a_window(struct kunit *test)
{
	kunit_info(test, "this kernel does not trace\n");
}

#endif /* CONFIG_TRACEPOINTS */

static void locked_page_ahead_is_left(struct kunit *test)
{
	struct fixture *f = test->priv;

	make_all(test);
	lock_page(f->pages[3]);
	scan(f, 0, 2);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, page_addr(f, 3)));
	KUNIT_EXPECT_TRUE(test, PageLocked(f->pages[3]));
	unlock_page(f->pages[3]);
	/* The scan goes on from there when it is free. */
	KUNIT_EXPECT_EQ(test, scan(f, 3, 3), 2);
}

static void lock_fourth(struct fixture *f)
{
	if (f->start == page_addr(f, 2))
		f->locked = trylock_page(f->pages[3]);
}

static void page_ahead_locked_meanwhile_is_left(struct kunit *test)
{
	struct fixture *f = test->priv;

	make_all(test);
	f->when_told = lock_fourth;
	KUNIT_EXPECT_EQ(test, scan(f, 0, 2), 2);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, page_addr(f, 3)));
	f->when_told = NULL;
	KUNIT_EXPECT_TRUE(test, f->locked);
	KUNIT_EXPECT_TRUE(test, PageLocked(f->pages[3]));
	if (f->locked)
		unlock_page(f->pages[3]);
}

/* What the fourth entry is replaced by; a swap entry, say. */
static pte_t other_entry(void)
{
	return swp_entry_to_pte(swp_entry(0, 5));
}

static void replace_fourth(struct fixture *f)
{
	if (f->start == page_addr(f, 2))
		write_entry(f, page_addr(f, 3), other_entry());
}

static void page_ahead_replaced_meanwhile_is_left(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t entry;

	make_all(test);
	entry = read_pte(f, page_addr(f, 3));
	f->when_told = replace_fourth;
	KUNIT_EXPECT_EQ(test, scan(f, 0, 2), 2);
	f->when_told = NULL;
	KUNIT_EXPECT_TRUE(test, pte_same(read_pte(f, page_addr(f, 3)),
					 other_entry()));
	write_entry(f, page_addr(f, 3), entry);
}

/* Even if it is a write that restores it */
static void page_ahead_without_soft_dirty_is_read_only(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		return;

	make_all(test);
	pte = read_pte(f, page_addr(f, 3));
	write_entry(f, page_addr(f, 3), pte_swp_clear_soft_dirty(pte));
	scan(f, 0, 1);
	KUNIT_EXPECT_EQ(test, cpu_write(page_addr(f, 2), 1), 0);
	pte = read_pte(f, page_addr(f, 3));
	KUNIT_EXPECT_TRUE(test, pte_present(pte));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
	KUNIT_EXPECT_FALSE(test, pte_dirty(pte));
	KUNIT_EXPECT_FALSE(test, pte_soft_dirty(pte));
}

static void page_ahead_with_uffd_wp_is_write_protected(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_HAVE_ARCH_USERFAULTFD_WP))
		return;

	make_all(test);
	change_vma_flags(f, VM_UFFD_WP, 0);
	pte = read_pte(f, page_addr(f, 3));
	write_entry(f, page_addr(f, 3), pte_swp_mkuffd_wp(pte));
	scan(f, 0, 1);
	KUNIT_EXPECT_EQ(test, cpu_write(page_addr(f, 2), 1), 0);
	change_vma_flags(f, 0, VM_UFFD_WP);
	pte = read_pte(f, page_addr(f, 3));
	KUNIT_EXPECT_TRUE(test, pte_present(pte));
	KUNIT_EXPECT_TRUE(test, pte_uffd_wp(pte));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
}

/* Map the pages from @i on anew, with flags that make a VMA of their own. */
static void split_vma_at(struct kunit *test, int i)
{
	struct fixture *f = test->priv;
	unsigned long addr = page_addr(f, i);
	int n = NPAGES - i;

	KUNIT_EXPECT_EQ(test, addr,
			vm_mmap(NULL, addr, n * PAGE_SIZE,
				PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED |
				MAP_NORESERVE, 0));
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, i, &owner_a), i);
	KUNIT_EXPECT_EQ(test, make_and_put(f, addr, n, &owner_a), n);
}

static void window_ends_where_the_vma_ends(struct kunit *test)
{
	struct fixture *f = test->priv;

	split_vma_at(test, 3);
	KUNIT_EXPECT_EQ(test, scan(f, 0, 2), 1);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, page_addr(f, 3)));
	/* and the next VMA has a scan of its own */
	KUNIT_EXPECT_EQ(test, scan(f, 3, 3), 1);
}

static void window_ends_where_the_vma_begins(struct kunit *test)
{
	struct fixture *f = test->priv;

	split_vma_at(test, 5);
	KUNIT_EXPECT_EQ(test, scan(f, 7, 5), 1);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, page_addr(f, 4)));
	KUNIT_EXPECT_EQ(test, scan(f, 4, 4), 1);
}

static void window_ends_at_what_is_not_exclusive(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 3, &owner_a), 3);
	KUNIT_EXPECT_EQ(test, scan(f, 0, 2), 1);
	KUNIT_EXPECT_TRUE(test, pte_none(read_pte(f, page_addr(f, 3))));
}

/* Pages on both sides of the border between two page-table pages */
static void make_across_pmds(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr;
	int i;

	addr = vm_mmap(NULL, 0, 3 * PMD_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	f->addr = ALIGN(addr, PMD_SIZE) + PMD_SIZE - NPAGES * PAGE_SIZE;
	for (i = 0; i < 2 * NPAGES; i += NPAGES)
		KUNIT_EXPECT_EQ(test, make_and_put(f, page_addr(f, i), NPAGES,
						   &owner_a), NPAGES);
}

static void window_ends_at_the_page_table_page(struct kunit *test)
{
	struct fixture *f = test->priv;

	make_across_pmds(test);
	KUNIT_EXPECT_EQ(test, scan(f, NPAGES - 3, NPAGES - 1), 1);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, page_addr(f, NPAGES)));
	/* but the scan does not */
	KUNIT_EXPECT_EQ(test, scan(f, NPAGES, NPAGES), 2);
}

static void window_begins_at_the_page_table_page(struct kunit *test)
{
	struct fixture *f = test->priv;

	make_across_pmds(test);
	KUNIT_EXPECT_EQ(test, scan(f, NPAGES + 2, NPAGES), 1);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, page_addr(f, NPAGES - 1)));
	KUNIT_EXPECT_EQ(test, scan(f, NPAGES - 1, NPAGES - 1), 2);
}

/* The page-table page that the fixture's mm has for @addr */
static unsigned long table_pfn(struct fixture *f, unsigned long addr)
{
	return page_to_pfn(pmd_page(*mm_find_pmd(f->mm, addr)));
}

/*
 * Two page-table pages of which one is behind the other in memory, wherever what
 * they map is. Returns the address behind that of the first, and sets @next to the
 * beginning of the other. They are allocated together, so there will be such.
 */
static unsigned long map_neighbours(struct fixture *f, unsigned long *next)
{
	const unsigned long size = 64 * PMD_SIZE;
	unsigned long begin, addr;
	spinlock_t *ptl;
	pte_t *pte;

	begin = vm_mmap(NULL, 0, size + PMD_SIZE, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, 0);
	begin = ALIGN(begin, PMD_SIZE);
	mmap_read_lock(f->mm);
	for (addr = begin; addr < begin + size; addr += PMD_SIZE) {
		pte = get_locked_pte(f->mm, addr, &ptl);
		if (pte)
			pte_unmap_unlock(pte, ptl);
	}
	mmap_read_unlock(f->mm);
	for (addr = begin; addr < begin + size; addr += PMD_SIZE)
		for (*next = begin; *next < begin + size; *next += PMD_SIZE)
			if (table_pfn(f, addr) + 1 == table_pfn(f, *next))
				return addr + PMD_SIZE;
	return 0;
}

/* What lies before and behind it in memory is that of other addresses. */
static void window_stays_in_the_page_table_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long end, next;

	end = map_neighbours(f, &next);
	KUNIT_EXPECT_NE(test, end, 0UL);
	if (!end)
		return;
	f->addr = end - 5 * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 5, &owner_a), 5);
	KUNIT_EXPECT_EQ(test, make_and_put(f, next, 5, &owner_a), 5);
	scan(f, 0, 4);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, next));

	KUNIT_EXPECT_EQ(test, make_and_put(f, f->addr, 5, &owner_a), 5);
	f->addr = next;
	scan(f, 4, 0);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, end - PAGE_SIZE));
}

/*
 * A driver written for v5.14 to v6.14: asks for pages in its own way, uses those it
 * got, and releases each for itself. Sets a bit in *@got for each of the first
 * pages that it got. Pages are to be locked, and locked once.
 */
static int old_driver(struct kunit *test, unsigned long addr, int npages,
		      void *owner, unsigned long *got)
{
	struct fixture *f = test->priv;
	int i, ret;

	/* What is in the array before is of no matter. */
	memset(f->pages, 0xff, npages * sizeof(*f->pages));
	mmap_read_lock(f->mm);
	ret = make_device_exclusive_range(f->mm, addr,
					  addr + npages * PAGE_SIZE, f->pages,
					  owner);
	mmap_read_unlock(f->mm);

	*got = 0;
	for (i = 0; i < ret; i++) {
		struct page *page = f->pages[i];

		if (!page)
			continue;
		if (i < BITS_PER_LONG)
			*got |= BIT(i);
		KUNIT_EXPECT_TRUE(test, is_exclusive(f, addr + i * PAGE_SIZE));
		KUNIT_EXPECT_TRUE(test, PageLocked(page));
		device_write(page, 100 + i);
		unlock_page(page);
		KUNIT_EXPECT_FALSE(test, PageLocked(page));
		put_page(page);
	}
	for (i = max(ret, 0); i < npages; i++)
		KUNIT_EXPECT_TRUE(test, !f->pages[i]);
	return ret;
}

static void old_driver_gets_small_pages(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long got;
	int i, count;

	KUNIT_EXPECT_EQ(test, cpu_write(f->addr, 1), 0);
	lru_add_drain_all();
	count = page_count(pte_page(read_pte(f, f->addr)));
	KUNIT_EXPECT_EQ(test, NPAGES, old_driver(test, f->addr, NPAGES,
						 &owner_a, &got));
	KUNIT_EXPECT_EQ(test, got, (unsigned long)BIT(NPAGES) - 1);
	KUNIT_EXPECT_EQ(test, page_count(f->pages[0]), count);
	KUNIT_EXPECT_PTR_EQ(test, f->owner, (void *)&owner_a);
	for (i = 0; i < NPAGES; i++)
		KUNIT_EXPECT_EQ(test, cpu_read(f->addr + i * PAGE_SIZE),
				(u64)100 + i);
}

/* And not one whose lock is another's when it lets go of the second. */
static void old_driver_gets_one_of_a_huge_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr = map_huge(f), got;
	struct page *head;
	int count;

	if (!addr) {
		kunit_info(test, "no huge page to be had\n");
		return;
	}
	KUNIT_EXPECT_EQ(test, 64, old_driver(test, addr, 64, &owner_a, &got));
	KUNIT_EXPECT_EQ(test, got, 1UL);
	head = f->pages[0];
	count = page_count(head);
	KUNIT_EXPECT_FALSE(test, is_exclusive(f, addr + PAGE_SIZE));
	KUNIT_EXPECT_EQ(test, 64, old_driver(test, addr + PAGE_SIZE, 64,
					     &owner_a, &got));
	KUNIT_EXPECT_EQ(test, got, 1UL);
	KUNIT_EXPECT_EQ(test, page_count(head), count);
	KUNIT_EXPECT_EQ(test, cpu_read(addr), (u64)100);
	KUNIT_EXPECT_EQ(test, cpu_read(addr + PAGE_SIZE), (u64)100);
}

static void old_driver_gets_small_pages_between(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr = map_huge(f), got;

	if (!addr) {
		kunit_info(test, "no huge page to be had\n");
		return;
	}
	/* The hole is filled by a page of its own. */
	mmap_read_lock(f->mm);
	zap_page_range(find_vma(f->mm, addr), addr + 2 * PAGE_SIZE, PAGE_SIZE);
	mmap_read_unlock(f->mm);
	KUNIT_EXPECT_EQ(test, 5, old_driver(test, addr, 5, &owner_a, &got));
	KUNIT_EXPECT_EQ(test, got, BIT(0) | BIT(2));
	KUNIT_EXPECT_EQ(test, cpu_read(addr + 2 * PAGE_SIZE), (u64)102);
}

static void old_driver_needs_no_owner(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long got;

	KUNIT_EXPECT_EQ(test, old_driver(test, f->addr, 1, NULL, &got), 1);
	KUNIT_EXPECT_EQ(test, got, 1UL);
	/* An event without one would leave others their plain access. */
	KUNIT_EXPECT_EQ(test, f->events, 1);
	KUNIT_EXPECT_TRUE(test, f->owner);
}

static void old_driver_goes_beyond_what_is_locked(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long got;
	struct page *page;

	KUNIT_EXPECT_EQ(test, cpu_write(f->addr + PAGE_SIZE, 1), 0);
	page = pte_page(read_pte(f, f->addr + PAGE_SIZE));
	lock_page(page);
	KUNIT_EXPECT_EQ(test, old_driver(test, f->addr, 4, &owner_a, &got), 4);
	KUNIT_EXPECT_EQ(test, got, 0xdUL);
	KUNIT_EXPECT_TRUE(test, PageLocked(page));
	unlock_page(page);
}

static void old_driver_goes_beyond_the_page_table_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr, got;

	addr = vm_mmap(NULL, 0, 2 * PMD_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	addr = ALIGN(addr + 2 * PAGE_SIZE, PMD_SIZE) - 2 * PAGE_SIZE;
	KUNIT_EXPECT_EQ(test, old_driver(test, addr, 4, &owner_a, &got), 4);
	KUNIT_EXPECT_EQ(test, got, 0xfUL);
	KUNIT_EXPECT_TRUE(test, f->pages[0] != f->pages[1]);
}

static void old_driver_is_told_what_is_there(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long got;

	KUNIT_EXPECT_EQ(test, vm_munmap(f->addr + 3 * PAGE_SIZE, PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, old_driver(test, f->addr, 5, &owner_a, &got), 3);
	KUNIT_EXPECT_EQ(test, got, 0x7UL);
	KUNIT_EXPECT_EQ(test, -EFAULT,
			old_driver(test, f->addr + 3 * PAGE_SIZE, 1, &owner_a,
				   &got));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			old_driver(test, f->addr, 0, &owner_a, &got));
}

/* A page that is found and cannot be exclusive is NULL, and no error. */
static void old_driver_gets_no_page_with_another_mapping(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long got;
	struct page *page;

	KUNIT_EXPECT_EQ(test, cpu_write(f->addr, 1), 0);
	page = pte_page(read_pte(f, f->addr));
	atomic_inc(&page->_mapcount);
	KUNIT_EXPECT_EQ(test, old_driver(test, f->addr, 2, &owner_a, &got), 2);
	KUNIT_EXPECT_EQ(test, got, 0x2UL);
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	atomic_dec(&page->_mapcount);
}

static struct kunit_case device_exclusive_cases[] = {
	KUNIT_CASE(make_locks_every_page_and_takes_a_reference),
	KUNIT_CASE(put_unlocks_and_leaves_the_entries),
	KUNIT_CASE(put_of_an_error_does_nothing),
	KUNIT_CASE(counts_are_those_of_the_mapping),
	KUNIT_CASE(cpu_sees_what_the_device_wrote),
	KUNIT_CASE(cpu_read_restores_a_young_writable_mapping),
	KUNIT_CASE(fault_restores_a_young_mapping),
	KUNIT_CASE(cpu_gets_back_one_page_only),
	KUNIT_CASE(make_sets_a_clean_page_dirty),
	KUNIT_CASE(entry_is_soft_dirty),
	KUNIT_CASE(soft_dirty_lost_waits_for_a_write),
	KUNIT_CASE(soft_dirty_lost_sees_the_write_that_restores),
	KUNIT_CASE(uffd_wp_restores_write_protected),
	KUNIT_CASE(uffd_wp_without_a_handler_restores_writable),
	KUNIT_CASE(make_hands_the_young_bit_to_the_page),
	KUNIT_CASE(make_leaves_an_old_page_idle),
	KUNIT_CASE(fault_mlocks_in_a_locked_vma),
	KUNIT_CASE(make_is_announced_with_its_owner),
	KUNIT_CASE(range_ends_when_it_is_done),
	KUNIT_CASE(make_of_new_base_pages_sends_nothing_else),
	KUNIT_CASE(restore_is_announced_without_owner),
	KUNIT_CASE(takeover_tells_the_other_and_restores_nothing),
	KUNIT_CASE(takeover_of_a_write_protected_page_is_a_fault),
	KUNIT_CASE(page_that_was_only_read_is_faulted_in),
	KUNIT_CASE(count_ends_at_a_page_that_is_locked),
	KUNIT_CASE(count_ends_where_the_vma_ends),
	KUNIT_CASE(memory_that_cannot_be_exclusive_is_refused),
	KUNIT_CASE(page_with_another_mapping_is_for_later),
	KUNIT_CASE(count_ends_at_a_page_with_another_mapping),
	KUNIT_CASE(fault_that_changes_nothing_is_not_for_ever),
	KUNIT_CASE(fault_without_memory_is_told),
	KUNIT_CASE(dying_task_gets_nothing),
	KUNIT_CASE(page_of_ksm_is_not_made),
	KUNIT_CASE(bad_arguments_are_refused),
	KUNIT_CASE(munmap_lets_the_page_go),
	KUNIT_CASE(huge_page_stays_whole_and_every_subpage_is_had),
	KUNIT_CASE(put_unlocks_a_huge_page_once),
	KUNIT_CASE(huge_page_migrates),
	KUNIT_CASE(huge_page_with_another_mapping_is_for_later),
	KUNIT_CASE(count_ends_where_a_huge_page_comes_up_again),
	KUNIT_CASE(call_ends_at_the_page_table_page),
	KUNIT_CASE(dirty_tracking_leaves_an_entry_alone),
	KUNIT_CASE(walker_gets_a_locked_page_with_a_reference),
	KUNIT_CASE(walker_waits_for_who_has_the_page),
	KUNIT_CASE(restored_range_is_announced_first),
	KUNIT_CASE(restored_range_leaves_a_locked_page),
	KUNIT_CASE(vmstat_counts_each_kind),
	KUNIT_CASE(trace_events_say_what_happens),
	KUNIT_CASE(make_waits_for_the_lock_of_the_first_page),
	KUNIT_CASE(make_looks_again_at_the_first_page),
	KUNIT_CASE(restore_asks_the_vma_of_today),
	KUNIT_CASE(other_events_have_no_owner),
	KUNIT_CASE(page_referenced_asks_the_device),
#ifdef CONFIG_IDLE_PAGE_TRACKING
	KUNIT_CASE(page_that_a_device_uses_is_not_idle),
#endif
	KUNIT_CASE(end_of_migration_leaves_the_entry),
	KUNIT_CASE(entry_counts_as_a_dirty_mapping),
	KUNIT_CASE(lazily_free_page_is_not_dropped),
	KUNIT_CASE(migration_does_not_lose_soft_dirty),
	KUNIT_CASE(migration_does_not_lose_uffd_wp),
	KUNIT_CASE(follow_pte_finds_nothing),
	KUNIT_CASE(numa_balancing_leaves_the_entry),
	KUNIT_CASE(hint_is_not_passed_over),
	KUNIT_CASE(error_leaves_the_array_alone),
	KUNIT_CASE(memory_of_drivers_is_refused),
	KUNIT_CASE(takeover_wants_a_vma_that_is_writable_now),
	KUNIT_CASE(takeover_wants_an_entry_without_uffd_wp),
	KUNIT_CASE(oom_reaper_takes_pages_that_are_locked),
	KUNIT_CASE(fault_waits_with_a_reference),
	KUNIT_CASE(no_cpu_writes_while_a_driver_has_the_pages),
	KUNIT_CASE(entry_gone_meanwhile_is_not_restored),
	KUNIT_CASE(window_of_a_scan_doubles),
	KUNIT_CASE(scan_may_go_downwards),
	KUNIT_CASE(scan_of_a_huge_page_is_a_scan),
	KUNIT_CASE(touch_at_random_restores_one_page),
	KUNIT_CASE(window_is_capped),
	KUNIT_CASE(window_of_one_page_is_no_window),
	KUNIT_CASE(pages_ahead_are_counted_apart),
	KUNIT_CASE(pages_ahead_come_back_old),
	KUNIT_CASE(pages_ahead_must_have_been_used),
	KUNIT_CASE(pages_that_a_device_took_again_end_the_scan),
	KUNIT_CASE(scan_does_not_turn_round),
	KUNIT_CASE(trace_event_has_all_pages_of_a_window),
	KUNIT_CASE(locked_page_ahead_is_left),
	KUNIT_CASE(page_ahead_locked_meanwhile_is_left),
	KUNIT_CASE(page_ahead_replaced_meanwhile_is_left),
	KUNIT_CASE(page_ahead_without_soft_dirty_is_read_only),
	KUNIT_CASE(page_ahead_with_uffd_wp_is_write_protected),
	KUNIT_CASE(window_ends_where_the_vma_ends),
	KUNIT_CASE(window_ends_where_the_vma_begins),
	KUNIT_CASE(window_ends_at_what_is_not_exclusive),
	KUNIT_CASE(window_ends_at_the_page_table_page),
	KUNIT_CASE(window_begins_at_the_page_table_page),
	KUNIT_CASE(window_stays_in_the_page_table_page),
	KUNIT_CASE(old_driver_gets_small_pages),
	KUNIT_CASE(old_driver_gets_one_of_a_huge_page),
	KUNIT_CASE(old_driver_gets_small_pages_between),
	KUNIT_CASE(old_driver_needs_no_owner),
	KUNIT_CASE(old_driver_goes_beyond_what_is_locked),
	KUNIT_CASE(old_driver_goes_beyond_the_page_table_page),
	KUNIT_CASE(old_driver_is_told_what_is_there),
	KUNIT_CASE(old_driver_gets_no_page_with_another_mapping),
	{}
};

static struct kunit_suite device_exclusive_suite = {
	.name = "device_exclusive",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = device_exclusive_cases,
};

kunit_test_suite(device_exclusive_suite);
