// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of device-exclusive memory, on an address space of their own.
 *
 * A test case runs in a kernel thread that uses the mm, so that get_user() and
 * put_user() are the CPU's accesses and fault as those of a program do. The
 * device is the test itself, which writes to the pages it was given.
 */
#include <kunit/test.h>
#include <linux/device_exclusive.h>
#include <linux/highmem.h>
#include <linux/hugetlb.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>

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
};

static int owner_a, owner_b;

static int note_event(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	struct fixture *f = container_of(mn, struct fixture, mn);

	if (range->event != MMU_NOTIFY_EXCLUSIVE) {
		f->other_events++;
		return 0;
	}
	f->events++;
	f->owner = range->owner;
	f->start = range->start;
	f->end = range->end;
	return 0;
}

static const struct mmu_notifier_ops note_ops = {
	.invalidate_range_start = note_event,
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
	kthread_unuse_mm(f->mm);
	mmu_notifier_unregister(&f->mn, f->mm);
	mmput(f->mm);
}

static int make(struct fixture *f, unsigned long addr, int npages, void *owner)
{
	int ret;

	mmap_read_lock(f->mm);
	ret = make_device_exclusive_range(f->mm, addr,
					  addr + npages * PAGE_SIZE, f->pages,
					  owner);
	mmap_read_unlock(f->mm);
	return ret;
}

static int make_and_put(struct fixture *f, unsigned long addr, int npages,
			void *owner)
{
	int ret = make(f, addr, npages, owner);

	put_device_exclusive_range(f->pages, ret);
	return ret;
}

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

static void write_entry(struct fixture *f, unsigned long addr, pte_t pte)
{
	spinlock_t *ptl;
	pte_t *ptep;

	ptep = pte_offset_map_lock(f->mm, mm_find_pmd(f->mm, addr), addr, &ptl);
	set_pte_at(f->mm, addr, ptep, pte);
	pte_unmap_unlock(ptep, ptl);
}

static bool is_exclusive(struct fixture *f, unsigned long addr)
{
	return is_device_exclusive_pte(read_pte(f, addr));
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
	put_device_exclusive_range(f->pages, n);
}

static void put_unlocks_and_leaves_the_entries(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i, count[NPAGES], n = make(f, f->addr, NPAGES, &owner_a);

	for (i = 0; i < n; i++) {
		get_page(f->pages[i]);
		count[i] = page_count(f->pages[i]);
	}
	put_device_exclusive_range(f->pages, n);
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

	put_device_exclusive_range(f->pages, -EFAULT);
	put_device_exclusive_range(f->pages, 0);
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
	put_device_exclusive_range(f->pages, 1);
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
		put_device_exclusive_range(f->pages, 1);
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

	cpu_read(f->addr);
	pte = read_pte(f, f->addr);
	KUNIT_EXPECT_TRUE(test, pte_present(pte));
	KUNIT_EXPECT_TRUE(test, pte_uffd_wp(pte));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
	KUNIT_EXPECT_FALSE(test, pte_dirty(pte));
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
	addr = map(PROT_READ | PROT_WRITE, MAP_SHARED);
	if (!IS_ERR_VALUE(addr))
		KUNIT_EXPECT_EQ(test, make(f, addr, 1, &owner_a), -EOPNOTSUPP);
}

static void bad_arguments_are_refused(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct mm_struct *mm = f->mm;
	unsigned long addr = f->addr;

	mmap_read_lock(mm);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			make_device_exclusive_range(mm, addr, addr + PAGE_SIZE,
						    f->pages, NULL));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			make_device_exclusive_range(mm, addr, addr, f->pages,
						    &owner_a));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			make_device_exclusive_range(mm, addr + PAGE_SIZE, addr,
						    f->pages, &owner_a));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			make_device_exclusive_range(mm, addr + 8,
						    addr + PAGE_SIZE, f->pages,
						    &owner_a));
	KUNIT_EXPECT_EQ(test, -EINVAL,
			make_device_exclusive_range(mm, addr, addr + 8,
						    f->pages, &owner_a));
	mmap_read_unlock(mm);
}

static void munmap_lets_the_page_go(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;
	long rss;

	KUNIT_EXPECT_EQ(test, make(f, f->addr, 1, &owner_a), 1);
	page = f->pages[0];
	get_page(page);
	rss = anon_rss(f);
	/* It does not wait for the lock, and the driver finds out later. */
	KUNIT_EXPECT_EQ(test, vm_munmap(f->addr, PAGE_SIZE), 0);
	put_device_exclusive_range(f->pages, 1);
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
	put_device_exclusive_range(f->pages, n);
	KUNIT_EXPECT_FALSE(test, PageLocked(head));
	KUNIT_EXPECT_TRUE(test, PageTransHuge(head));

	for (i = 0; i < n; i++)
		KUNIT_EXPECT_EQ(test, cpu_read(addr + i * PAGE_SIZE), (u64)i);
	/* one for each mapping, and ours */
	KUNIT_EXPECT_EQ(test, page_count(head), n + 1);
	put_page(head);
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
	KUNIT_EXPECT_EQ(test, make_and_put(f, addr + 2 * PAGE_SIZE, 2,
					   &owner_a), 2);
}

static struct kunit_case device_exclusive_cases[] = {
	KUNIT_CASE(make_locks_every_page_and_takes_a_reference),
	KUNIT_CASE(put_unlocks_and_leaves_the_entries),
	KUNIT_CASE(put_of_an_error_does_nothing),
	KUNIT_CASE(counts_are_those_of_the_mapping),
	KUNIT_CASE(cpu_sees_what_the_device_wrote),
	KUNIT_CASE(cpu_read_restores_a_young_writable_mapping),
	KUNIT_CASE(cpu_gets_back_one_page_only),
	KUNIT_CASE(make_sets_a_clean_page_dirty),
	KUNIT_CASE(entry_is_soft_dirty),
	KUNIT_CASE(soft_dirty_lost_waits_for_a_write),
	KUNIT_CASE(soft_dirty_lost_sees_the_write_that_restores),
	KUNIT_CASE(uffd_wp_restores_write_protected),
	KUNIT_CASE(make_is_announced_with_its_owner),
	KUNIT_CASE(make_of_new_base_pages_sends_nothing_else),
	KUNIT_CASE(restore_is_announced_without_owner),
	KUNIT_CASE(takeover_tells_the_other_and_restores_nothing),
	KUNIT_CASE(count_ends_at_a_page_that_is_locked),
	KUNIT_CASE(count_ends_where_the_vma_ends),
	KUNIT_CASE(memory_that_cannot_be_exclusive_is_refused),
	KUNIT_CASE(bad_arguments_are_refused),
	KUNIT_CASE(munmap_lets_the_page_go),
	KUNIT_CASE(huge_page_stays_whole_and_every_subpage_is_had),
	KUNIT_CASE(count_ends_where_a_huge_page_comes_up_again),
	KUNIT_CASE(call_ends_at_the_page_table_page),
	{}
};

static struct kunit_suite device_exclusive_suite = {
	.name = "device_exclusive",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = device_exclusive_cases,
};

kunit_test_suite(device_exclusive_suite);
