// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of device-exclusive memory that is shared: a file of tmpfs in two
 * address spaces, each with a notifier. The thread of a test case uses one of
 * them at a time, and get_user() and put_user() are the CPU's accesses there.
 */
#include <kunit/test.h>
#include <linux/device_exclusive.h>
#include <linux/file.h>
#include <linux/kthread.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>

#include "internal.h"

#define NPAGES	56

enum { A, B, NSIDES };

struct side {
	struct fixture *f;
	struct mm_struct *mm;
	unsigned long addr;
	struct mmu_notifier mn;
	int err;
	/* What the notifier has seen of MMU_NOTIFY_EXCLUSIVE, by kind */
	int made;
	int broken;
	void *owner;
	/* Was any page mapped for a CPU when a device was told to give it up? */
	int too_early;
	/* How the number of mappings changes whenever the page is made exclusive */
	const int *changes;
	int nr_changes;
};

struct fixture {
	struct file *file;
	struct side side[NSIDES];
	struct page *pages[NPAGES];
	bool watch;
};

static int owner_a, owner_b;

static pte_t read_pte(struct side *side, unsigned long addr)
{
	pmd_t *pmd = mm_find_pmd(side->mm, addr);
	pte_t *ptep, pte;
	spinlock_t *ptl;

	if (!pmd)
		return __pte(0);
	ptep = pte_offset_map_lock(side->mm, pmd, addr, &ptl);
	pte = *ptep;
	pte_unmap_unlock(ptep, ptl);
	return pte;
}

static pte_t read_nth_pte(struct side *side, int i)
{
	return read_pte(side, side->addr + i * PAGE_SIZE);
}

static bool is_present(struct fixture *f, int nr)
{
	return pte_present(read_nth_pte(&f->side[nr], 0));
}

static int count_present(struct fixture *f, int nr)
{
	int i, n = 0;

	for (i = 0; i < NPAGES; i++)
		n += !!pte_present(read_nth_pte(&f->side[nr], i));
	return n;
}

static bool is_exclusive(struct fixture *f, int nr)
{
	return is_device_exclusive_pte(read_pte(&f->side[nr],
						f->side[nr].addr));
}

/* Whoever it is for, both have had it taken away, or it is too early. */
static int count_mapped(struct side *side,
			const struct mmu_notifier_range *range)
{
	int i = (range->start - side->addr) / PAGE_SIZE;
	int n = 0;

	for (; i < (range->end - side->addr) / PAGE_SIZE; i++) {
		n += !!pte_present(read_nth_pte(&side->f->side[A], i));
		n += !!pte_present(read_nth_pte(&side->f->side[B], i));
	}
	return n;
}

static struct page *first_page(struct side *side)
{
	pte_t pte = read_nth_pte(side, 0);

	return pte_present(pte) ? pte_page(pte) :
	       pfn_swap_entry_to_page(pte_to_swp_entry(pte));
}

static int note_event(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	struct side *side = container_of(mn, struct side, mn);
	struct fixture *f = side->f;

	if (range->event != MMU_NOTIFY_EXCLUSIVE)
		return 0;
	if (range->owner && side->made < side->nr_changes)
		atomic_add(side->changes[side->made],
			   &first_page(side)->_mapcount);
	if (range->owner)
		side->made++;
	else
		side->broken++;
	side->owner = range->owner;
	if (f->watch && !range->owner)
		side->too_early += count_mapped(side, range);
	return 0;
}

static const struct mmu_notifier_ops note_ops = {
	.invalidate_range_start = note_event,
};

static int side_init(struct fixture *f, struct side *side)
{
	struct rlimit stack = { .rlim_cur = _STK_LIM, .rlim_max = _STK_LIM };

	side->f = f;
	side->mm = mm_alloc();
	if (!side->mm)
		return -ENOMEM;
	arch_pick_mmap_layout(side->mm, &stack);
	side->mn.ops = &note_ops;
	side->err = mmu_notifier_register(&side->mn, side->mm);
	return side->err;
}

static unsigned long map(struct fixture *f, int nr, unsigned long prot,
			 unsigned long flags)
{
	struct side *side = &f->side[nr];

	kthread_use_mm(side->mm);
	side->addr = vm_mmap(f->file, 0, NPAGES * PAGE_SIZE, prot, flags, 0);
	kthread_unuse_mm(side->mm);
	return side->addr;
}

static void map_both(struct kunit *test, unsigned long prot,
		     unsigned long flags)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(map(f, A, PROT_READ | PROT_WRITE,
						  MAP_SHARED)));
	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(map(f, B, prot, flags)));
}

static int fixture_init(struct kunit *test)
{
	struct fixture *f = kunit_kzalloc(test, sizeof(*f), GFP_KERNEL);

	if (!f)
		return -ENOMEM;
	f->file = shmem_file_setup("kunit", NPAGES * PAGE_SIZE, 0);
	if (IS_ERR(f->file))
		return PTR_ERR(f->file);
	test->priv = f;
	return side_init(f, &f->side[A]) ?: side_init(f, &f->side[B]);
}

static void fixture_exit(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	if (!f)
		return;
	for (i = 0; i < NSIDES && f->side[i].mm; i++) {
		if (!f->side[i].err)
			mmu_notifier_unregister(&f->side[i].mn, f->side[i].mm);
		mmput(f->side[i].mm);
	}
	fput(f->file);
}

static u64 __user *nth_word(struct fixture *f, int nr, int i)
{
	return (u64 __user *)(f->side[nr].addr + i * PAGE_SIZE);
}

static u64 cpu_read_nth(struct fixture *f, int nr, int i)
{
	u64 __user *word = nth_word(f, nr, i);
	u64 val;

	kthread_use_mm(f->side[nr].mm);
	if (get_user(val, word))
		val = ~0ULL;
	kthread_unuse_mm(f->side[nr].mm);
	return val;
}

static u64 cpu_read(struct fixture *f, int nr)
{
	return cpu_read_nth(f, nr, 0);
}

static int cpu_write_nth(struct fixture *f, int nr, int i, u64 val)
{
	u64 __user *word = nth_word(f, nr, i);
	int err;

	kthread_use_mm(f->side[nr].mm);
	err = put_user(val, word);
	kthread_unuse_mm(f->side[nr].mm);
	return err;
}

static int cpu_write(struct fixture *f, int nr, u64 val)
{
	return cpu_write_nth(f, nr, 0, val);
}

static int make(struct fixture *f, int nr, int npages, void *owner)
{
	struct side *side = &f->side[nr];
	int ret;

	kthread_use_mm(side->mm);
	mmap_read_lock(side->mm);
	ret = make_device_exclusive_range(side->mm, side->addr,
					  side->addr + npages * PAGE_SIZE,
					  f->pages, owner);
	mmap_read_unlock(side->mm);
	kthread_unuse_mm(side->mm);
	return ret;
}

static int make_and_put(struct fixture *f, int nr, int npages, void *owner)
{
	int ret = make(f, nr, npages, owner);

	put_device_exclusive_range(f->pages, ret);
	return ret;
}

/* Both have the first page mapped, and then A has it made exclusive. */
static struct page *make_shared_page(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, cpu_write(f, A, 1), 0);
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 1ULL);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	f->watch = true;
	return f->pages[0];
}

static void every_mapping_is_taken_away(struct kunit *test)
{
	struct fixture *f = test->priv;
	int count, mapcount;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	cpu_write(f, A, 1);
	cpu_read(f, B);
	page = pte_page(read_pte(&f->side[A], f->side[A].addr));
	count = page_count(page);
	mapcount = page_mapcount(page);
	KUNIT_EXPECT_EQ(test, make(f, A, 1, &owner_a), 1);
	KUNIT_EXPECT_PTR_EQ(test, f->pages[0], page);
	KUNIT_EXPECT_TRUE(test, PageLocked(page));
	KUNIT_EXPECT_TRUE(test, PageDirty(page));
	KUNIT_EXPECT_TRUE(test, PageDeviceExclusive(page));
	put_device_exclusive_range(f->pages, 1);
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, A));
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, B));
	KUNIT_EXPECT_EQ(test, page_count(page), count);
	KUNIT_EXPECT_EQ(test, page_mapcount(page), mapcount);
}

static void every_mm_is_told_for_whom(struct kunit *test)
{
	struct fixture *f = test->priv;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	make_shared_page(test);
	KUNIT_EXPECT_EQ(test, f->side[A].made, 1);
	KUNIT_EXPECT_EQ(test, f->side[B].made, 1);
	KUNIT_EXPECT_PTR_EQ(test, f->side[B].owner, (void *)&owner_a);
	KUNIT_EXPECT_EQ(test, f->side[A].broken + f->side[B].broken, 0);

	KUNIT_EXPECT_EQ(test, make_and_put(f, B, 1, &owner_b), 1);
	KUNIT_EXPECT_PTR_EQ(test, f->side[A].owner, (void *)&owner_b);
	KUNIT_EXPECT_EQ(test, f->side[A].broken + f->side[B].broken, 0);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, A));
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, B));
}

static void touch_gives_back_every_mapping(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;
	pte_t pte;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	page = make_shared_page(test);
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 1ULL);
	KUNIT_EXPECT_GE(test, f->side[A].broken, 1);
	KUNIT_EXPECT_GE(test, f->side[B].broken, 1);
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(page));
	pte = read_pte(&f->side[A], f->side[A].addr);
	KUNIT_EXPECT_TRUE(test, pte_present(pte) && pte_write(pte));
	KUNIT_EXPECT_FALSE(test, pte_young(pte));
	pte = read_pte(&f->side[B], f->side[B].addr);
	KUNIT_EXPECT_TRUE(test, pte_present(pte) && pte_write(pte));
	KUNIT_EXPECT_TRUE(test, pte_young(pte));
}

static void nobody_has_it_before_the_last_is_told(struct kunit *test)
{
	struct fixture *f = test->priv;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	make_shared_page(test);
	cpu_write(f, A, 2);
	make_and_put(f, A, 1, &owner_a);
	cpu_write(f, B, 3);
	KUNIT_EXPECT_GE(test, f->side[A].broken, 2);
	KUNIT_EXPECT_GE(test, f->side[B].broken, 2);
	KUNIT_EXPECT_EQ(test, f->side[A].too_early, 0);
	KUNIT_EXPECT_EQ(test, f->side[B].too_early, 0);
}

static void new_mapping_tells_the_others_first(struct kunit *test)
{
	struct fixture *f = test->priv;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	cpu_write(f, A, 1);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	f->watch = true;
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 1ULL);
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 1);
	KUNIT_EXPECT_EQ(test, f->side[A].too_early, 0);
	KUNIT_EXPECT_TRUE(test, is_present(f, A));
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(f->pages[0]));
}

static void only_mapping_comes_back_alone(struct kunit *test)
{
	struct fixture *f = test->priv;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	cpu_write(f, A, 1);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, NPAGES, &owner_a), NPAGES);
	KUNIT_EXPECT_EQ(test, cpu_read(f, A), 1ULL);
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 1);
	KUNIT_EXPECT_EQ(test, f->side[B].broken, 0);
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(f->pages[0]));
	KUNIT_EXPECT_TRUE(test, PageDeviceExclusive(f->pages[1]));
}

static void expect_read_only_and_clean(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	make_shared_page(test);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, B));
	KUNIT_EXPECT_EQ(test, cpu_write(f, A, 2), 0);
	pte = read_pte(&f->side[B], f->side[B].addr);
	KUNIT_EXPECT_TRUE(test, pte_present(pte));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
	KUNIT_EXPECT_FALSE(test, pte_dirty(pte));
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 2ULL);
}

static void private_mapping_comes_back_read_only(struct kunit *test)
{
	struct fixture *f = test->priv;

	map_both(test, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	expect_read_only_and_clean(test);

	/* Its device gets a copy, and that is a page of its own. */
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	KUNIT_EXPECT_EQ(test, make_and_put(f, B, 1, &owner_b), 1);
	KUNIT_EXPECT_TRUE(test, PageAnon(f->pages[0]));
	KUNIT_EXPECT_EQ(test, cpu_write(f, B, 3), 0);
	KUNIT_EXPECT_EQ(test, cpu_read(f, A), 2ULL);
}

static void read_only_mapping_comes_back_read_only(struct kunit *test)
{
	struct fixture *f = test->priv;

	map_both(test, PROT_READ, MAP_SHARED);
	expect_read_only_and_clean(test);
	KUNIT_EXPECT_EQ(test, cpu_write(f, B, 3), -EFAULT);
}

/* vm_insert_page() puts a page where the map of its file does not lead to. */
static void page_mapped_out_of_reach_is_refused(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	page = make_shared_page(test);
	atomic_inc(&page->_mapcount);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), -EOPNOTSUPP);
	atomic_dec(&page->_mapcount);
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(page));
	KUNIT_EXPECT_TRUE(test, is_present(f, A));
	KUNIT_EXPECT_TRUE(test, is_present(f, B));
	/* The owner ignores its own event, and has had permission. */
	KUNIT_EXPECT_GE(test, f->side[A].broken, 1);
	KUNIT_EXPECT_GE(test, f->side[B].broken, 1);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
}

/* The error is about another page than the first. */
static void page_mapped_out_of_reach_ends_the_count(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 4, &owner_a), 4);
	page = f->pages[2];
	atomic_inc(&page->_mapcount);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 4, &owner_a), 1);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, A));
	atomic_dec(&page->_mapcount);
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	/* An event that is not its own would send the caller round for ever. */
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 0);
	KUNIT_EXPECT_EQ(test, cpu_read_nth(f, B, 2), 0ULL);
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(page));
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 4, &owner_a), 4);
}

/* Moved by mremap() from where it has been met to where it is met again */
static void mapping_that_is_met_twice_is_no_error(struct kunit *test)
{
	static const int changes[] = { 0, 1 };
	struct fixture *f = test->priv;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	cpu_write(f, A, 1);
	cpu_read(f, B);
	atomic_dec(&first_page(&f->side[A])->_mapcount);
	f->side[A].changes = changes;
	f->side[A].nr_changes = ARRAY_SIZE(changes);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	KUNIT_EXPECT_EQ(test, f->side[A].made, 3);
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 0);
}

/* Nobody is told, as that would send the caller round as well. */
static void mappings_that_do_not_hold_still_are_waited_for(struct kunit *test)
{
	static const int changes[] = { 1, -1, 1, -1, 1, -1 };
	struct fixture *f = test->priv;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	cpu_write(f, A, 1);
	cpu_read(f, B);
	f->side[A].changes = changes;
	f->side[A].nr_changes = ARRAY_SIZE(changes);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	KUNIT_EXPECT_EQ(test, f->side[A].made, 7);
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 0);
	KUNIT_EXPECT_EQ(test, f->side[B].broken, 0);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, A));
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, B));
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 1ULL);
	KUNIT_EXPECT_TRUE(test, is_present(f, A));
}

static void mark_without_entries_does_no_harm(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	page = make_shared_page(test);
	unmap_mapping_range(f->file->f_mapping, 0, 0, 0);
	KUNIT_EXPECT_FALSE(test, page_mapped(page));
	KUNIT_EXPECT_TRUE(test, PageDeviceExclusive(page));
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 1ULL);
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(page));
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 0);
	KUNIT_EXPECT_EQ(test, make_and_put(f, B, 1, &owner_b), 1);
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 1ULL);
}

static void truncated_page_loses_the_mark(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	page = make_shared_page(test);
	get_page(page);
	shmem_truncate_range(file_inode(f->file), 0, -1);
	KUNIT_EXPECT_FALSE(test, page_mapped(page));
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(page));
	put_page(page);
}

/* Migration entries come back as mappings: no device may have the page then. */
static void migration_ends_it_before_it_begins(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	page = make_shared_page(test);
	get_page(page);
	lock_page(page);
	try_to_migrate(page, 0);
	KUNIT_EXPECT_FALSE(test, page_mapped(page));
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(page));
	KUNIT_EXPECT_GE(test, f->side[A].broken, 1);
	KUNIT_EXPECT_EQ(test, f->side[B].too_early, 0);
	remove_migration_ptes(page, page, false);
	unlock_page(page);
	put_page(page);
	KUNIT_EXPECT_TRUE(test, is_present(f, A));
	KUNIT_EXPECT_TRUE(test, is_present(f, B));
}

/* One that nobody maps may still have it. */
static void migration_leaves_the_mark_behind(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page, *newpage = alloc_page(GFP_KERNEL);

	if (!newpage || !IS_ENABLED(CONFIG_MIGRATION))
		return;
	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	page = make_shared_page(test);
	get_page(page);
	unmap_mapping_range(f->file->f_mapping, 0, 0, 0);
	lock_page(page);
	lock_page(newpage);
	newpage->mapping = page->mapping;
	KUNIT_EXPECT_TRUE(test, PageDeviceExclusive(page));
	migrate_page_states(newpage, page);
	newpage->mapping = NULL;
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(page));
	KUNIT_EXPECT_FALSE(test, PageMappedToDisk(newpage));
	ClearPageActive(newpage);
	unlock_page(newpage);
	unlock_page(page);
	put_page(newpage);
	put_page(page);
}

/* Both have mapped all pages, and then A has them made exclusive. */
static void make_all_pages(struct kunit *test)
{
	struct fixture *f = test->priv;
	int nr, i;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (nr = A; nr <= B; nr++) {
		for (i = 0; i < NPAGES; i++)
			cpu_write_nth(f, nr, i, i);
	}
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, NPAGES, &owner_a), NPAGES);
	KUNIT_EXPECT_EQ(test, count_present(f, A), 0);
	KUNIT_EXPECT_EQ(test, count_present(f, B), 0);
	f->watch = true;
	current->device_exclusive_scan = 0;
}

/* Read the pages in the order of @order, and see how many are back after each. */
static void expect_back(struct kunit *test, const int (*order)[2], int n)
{
	struct fixture *f = test->priv;
	int i;

	for (i = 0; i < n; i++) {
		KUNIT_EXPECT_EQ(test, cpu_read_nth(f, B, order[i][0]),
				(u64)order[i][0]);
		KUNIT_EXPECT_EQ(test, count_present(f, A), order[i][1]);
		KUNIT_EXPECT_EQ(test, count_present(f, B), order[i][1]);
	}
	KUNIT_EXPECT_EQ(test, f->side[A].too_early, 0);
	KUNIT_EXPECT_EQ(test, f->side[B].too_early, 0);
}

/* Read all pages, from @first on: what each fault gives back, up to 16 pages. */
static void expect_windows(struct kunit *test, int first, int step)
{
	static const int window[] = { 1, 1, 2, 4, 8, 16, 16, 8 };
	struct fixture *f = test->priv;
	int order[NPAGES][2];
	int i, n = 0, back = 0;

	for (i = 0; i < NPAGES; i++) {
		if (i == back)
			back += window[n++];
		order[i][0] = first + i * step;
		order[i][1] = back;
	}
	f->side[A].broken = 0;
	f->side[B].broken = 0;
	expect_back(test, order, NPAGES);
	KUNIT_EXPECT_EQ(test, f->side[A].broken, (int)ARRAY_SIZE(window));
	KUNIT_EXPECT_EQ(test, f->side[B].broken, (int)ARRAY_SIZE(window));
	for (i = 0; i < NPAGES; i++)
		KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(f->pages[i]));
}

static void scan_has_a_window(struct kunit *test)
{
	struct fixture *f = test->priv;

	make_all_pages(test);
	expect_windows(test, 0, 1);

	f->watch = false;
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, NPAGES, &owner_a), NPAGES);
	f->watch = true;
	current->device_exclusive_scan = 0;
	expect_windows(test, NPAGES - 1, -1);
}

/* Only the page that is read counts as used. */
static void scan_brings_pages_back_old(struct kunit *test)
{
	const int order[][2] = {
		{ 0, 1 }, { 1, 2 }, { 2, 4 },
	};
	struct fixture *f = test->priv;

	make_all_pages(test);
	expect_back(test, order, ARRAY_SIZE(order));
	KUNIT_EXPECT_TRUE(test, pte_young(read_nth_pte(&f->side[B], 2)));
	KUNIT_EXPECT_FALSE(test, pte_young(read_nth_pte(&f->side[B], 3)));
}

static void scan_leaves_what_is_locked(struct kunit *test)
{
	const int order[][2] = {
		{ 0, 1 }, { 1, 2 }, { 2, 3 },
	};
	struct fixture *f = test->priv;

	make_all_pages(test);
	lock_page(f->pages[3]);
	expect_back(test, order, ARRAY_SIZE(order));
	KUNIT_EXPECT_TRUE(test, PageDeviceExclusive(f->pages[3]));
	unlock_page(f->pages[3]);
	KUNIT_EXPECT_EQ(test, cpu_read_nth(f, B, 3), 3ULL);
	KUNIT_EXPECT_FALSE(test, PageLocked(f->pages[3]));
}

static void touch_at_random_gives_back_one_page(struct kunit *test)
{
	const int order[][2] = {
		{ 3, 1 }, { 0, 2 }, { 7, 3 }, { 5, 4 },
	};

	make_all_pages(test);
	expect_back(test, order, ARRAY_SIZE(order));
}

static void fault_around_leaves_it_with_the_device(struct kunit *test)
{
	struct fixture *f = test->priv;

	map_both(test, PROT_READ, MAP_SHARED);
	cpu_write_nth(f, A, 2, 1);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 2, &owner_a), 2);
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 0ULL);
	KUNIT_EXPECT_TRUE(test, is_present(f, B));
	KUNIT_EXPECT_TRUE(test, pte_none(read_nth_pte(&f->side[B], 1)));
	KUNIT_EXPECT_TRUE(test, PageDeviceExclusive(f->pages[1]));
	/* Which no device has */
	KUNIT_EXPECT_TRUE(test, pte_present(read_nth_pte(&f->side[B], 2)));
}

static struct kunit_case shared_cases[] = {
	KUNIT_CASE(every_mapping_is_taken_away),
	KUNIT_CASE(every_mm_is_told_for_whom),
	KUNIT_CASE(touch_gives_back_every_mapping),
	KUNIT_CASE(nobody_has_it_before_the_last_is_told),
	KUNIT_CASE(new_mapping_tells_the_others_first),
	KUNIT_CASE(only_mapping_comes_back_alone),
	KUNIT_CASE(private_mapping_comes_back_read_only),
	KUNIT_CASE(read_only_mapping_comes_back_read_only),
	KUNIT_CASE(page_mapped_out_of_reach_is_refused),
	KUNIT_CASE(page_mapped_out_of_reach_ends_the_count),
	KUNIT_CASE(mapping_that_is_met_twice_is_no_error),
	KUNIT_CASE(mappings_that_do_not_hold_still_are_waited_for),
	KUNIT_CASE(mark_without_entries_does_no_harm),
	KUNIT_CASE(truncated_page_loses_the_mark),
	KUNIT_CASE(migration_ends_it_before_it_begins),
	KUNIT_CASE(migration_leaves_the_mark_behind),
	KUNIT_CASE(scan_has_a_window),
	KUNIT_CASE(scan_brings_pages_back_old),
	KUNIT_CASE(scan_leaves_what_is_locked),
	KUNIT_CASE(touch_at_random_gives_back_one_page),
	KUNIT_CASE(fault_around_leaves_it_with_the_device),
	{}
};

static struct kunit_suite shared_suite = {
	.name = "device_exclusive_shared",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = shared_cases,
};

kunit_test_suite(shared_suite);
