// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of device-exclusive memory that is shared: a file of tmpfs in two
 * address spaces, each with a notifier. The thread of a test case uses one of
 * them at a time, and get_user() and put_user() are the CPU's accesses there.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/device_exclusive.h>
#include <linux/file.h>
#include <linux/highmem.h>
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
#include <linux/vmstat.h>
#include <linux/workqueue.h>
#include <trace/events/device_exclusive.h>

#include "internal.h"

#define NPAGES	56
#define WORDS	(PAGE_SIZE / sizeof(u64))

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
	unsigned long start, end;
	/* Ranges of any kind that have begun and not ended */
	int open;
	/* Has a mapping out of reach come, when the page is about to come back? */
	struct page *maps_too;
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
	/* Is B to move its mapping of the first page to its twin when A makes it? */
	bool move, unlock;
	unsigned long twin;
	/* Mappings that are not to be found */
	int hidden;
	/* Did a CPU write to pages when a range ended in which they were unmapped? */
	bool watch_writes;
	bool written;
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

static void write_pte(struct side *side, unsigned long addr, pte_t pte)
{
	spinlock_t *ptl;
	pte_t *ptep;

	ptep = pte_offset_map_lock(side->mm, mm_find_pmd(side->mm, addr), addr,
				   &ptl);
	set_pte_at(side->mm, addr, ptep, pte);
	pte_unmap_unlock(ptep, ptl);
}

/* As mremap() does, from before A's mapping is met until after the first of B's */
static void move_meanwhile(struct fixture *f, struct side *side,
			   unsigned long start)
{
	pte_t pte;

	if (side == &f->side[A]) {
		mmap_write_trylock(f->side[B].mm);
	} else if (start == f->twin) {
		f->move = false;
		pte = read_pte(side, side->addr);
		write_pte(side, side->addr, __pte(0));
		write_pte(side, f->twin, pte);
		if (f->unlock)
			mmap_write_unlock(side->mm);
	}
}

static int note_event(struct mmu_notifier *mn,
		      const struct mmu_notifier_range *range)
{
	struct side *side = container_of(mn, struct side, mn);
	struct fixture *f = side->f;

	side->open++;
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
	if (f->move)
		move_meanwhile(f, side, range->start);
	side->start = range->start;
	side->end = range->end;
	if (!range->owner && side->maps_too) {
		atomic_inc(&side->maps_too->_mapcount);
		side->maps_too = NULL;
	}
	if (f->watch && !range->owner)
		side->too_early += count_mapped(side, range);
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

/* The end of a range of munmap() comes before the end of its mmu_gather. */
static void note_end(struct mmu_notifier *mn,
		     const struct mmu_notifier_range *range)
{
	struct side *side = container_of(mn, struct side, mn);
	struct fixture *f = side->f;

	side->open--;
	if (range->event != MMU_NOTIFY_EXCLUSIVE && f->watch_writes)
		f->written |= is_written(f);
}

static const struct mmu_notifier_ops note_ops = {
	.invalidate_range_start = note_event,
	.invalidate_range_end = note_end,
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

static void map_part(struct fixture *f, int nr, int first, int npages)
{
	struct side *side = &f->side[nr];

	kthread_use_mm(side->mm);
	side->addr = vm_mmap(f->file, 0, npages * PAGE_SIZE,
			     PROT_READ | PROT_WRITE, MAP_SHARED,
			     first * PAGE_SIZE);
	kthread_unuse_mm(side->mm);
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
		KUNIT_EXPECT_EQ(test, f->side[i].open, 0);
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
	ret = device_exclusive_make_range(side->mm, side->addr,
					  side->addr + npages * PAGE_SIZE,
					  f->pages, owner);
	mmap_read_unlock(side->mm);
	kthread_unuse_mm(side->mm);
	return ret;
}

static int make_and_put(struct fixture *f, int nr, int npages, void *owner)
{
	int ret = make(f, nr, npages, owner);

	device_exclusive_put_range(f->pages, ret);
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
	device_exclusive_put_range(f->pages, 1);
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, A));
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, B));
	KUNIT_EXPECT_EQ(test, page_count(page), count);
	KUNIT_EXPECT_EQ(test, page_mapcount(page), mapcount);
}

/* Nobody has written to it but the device, by the time it is reclaimed. */
static void page_that_was_only_read_is_dirty_then(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	cpu_read(f, A);
	page = first_page(&f->side[A]);
	KUNIT_EXPECT_FALSE(test, PageDirty(page));
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	KUNIT_EXPECT_PTR_EQ(test, f->pages[0], page);
	KUNIT_EXPECT_TRUE(test, PageDirty(page));

	/* by whoever takes it over as well */
	ClearPageDirty(page);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_b), 1);
	KUNIT_EXPECT_TRUE(test, PageDirty(page));
}

/* Nobody may write to the VMA of a side from now on. */
static void forbid_writing(struct side *side)
{
	mmap_write_lock(side->mm);
	find_vma(side->mm, side->addr)->vm_flags &= ~VM_WRITE;
	mmap_write_unlock(side->mm);
}

/*
 * The device may have written until the entry goes: whoever has cleaned the page,
 * and whatever the mapping would be now.
 */
static void unmapped_page_is_dirty(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	page = make_shared_page(test);
	forbid_writing(&f->side[A]);
	forbid_writing(&f->side[B]);
	get_page(page);
	lock_page(page);
	ClearPageDirty(page);
	KUNIT_EXPECT_TRUE(test, try_to_unmap(page, TTU_IGNORE_MLOCK));
	KUNIT_EXPECT_TRUE(test, PageDirty(page));
	unlock_page(page);
	put_page(page);
}

/* B has only some of the pages, from another address on. */
static void mapping_of_a_part_is_told_of_that(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct side *b = &f->side[B];
	int i;

	map(f, A, PROT_READ | PROT_WRITE, MAP_SHARED);
	map_part(f, B, 2, 3);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, cpu_write_nth(f, B, i, i), 0);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 8, &owner_a), 8);
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_TRUE(test,
				  is_device_exclusive_pte(read_nth_pte(b, i)));
	KUNIT_EXPECT_EQ(test, b->start, b->addr);
	KUNIT_EXPECT_EQ(test, b->end, b->addr + 3 * PAGE_SIZE);

	KUNIT_EXPECT_EQ(test, cpu_read_nth(f, A, 3), 1ULL);
	KUNIT_EXPECT_EQ(test, b->start, b->addr + PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, b->end, b->addr + 2 * PAGE_SIZE);
	KUNIT_EXPECT_TRUE(test, pte_present(read_nth_pte(b, 1)));
	KUNIT_EXPECT_EQ(test, count_present(f, A), 1);
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

/* Even for somebody who is not a CPU that sets the bit when it tries again */
static void fault_restores_a_young_mapping(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct side *side = &f->side[B];

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	cpu_write(f, A, 1);
	cpu_read(f, B);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	mmap_read_lock(side->mm);
	KUNIT_EXPECT_EQ(test, 0,
			fixup_user_fault(side->mm, side->addr, 0, NULL));
	mmap_read_unlock(side->mm);
	KUNIT_EXPECT_TRUE(test, is_present(f, A));
	KUNIT_EXPECT_TRUE(test, is_present(f, B));
	KUNIT_EXPECT_TRUE(test, pte_young(read_nth_pte(side, 0)));
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

/* Whoever is told may be slow, so that is looked at again. */
static void mapping_that_comes_meanwhile_is_seen(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	cpu_write(f, A, 1);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	page = f->pages[0];
	f->side[A].maps_too = page;
	KUNIT_EXPECT_EQ(test, cpu_read(f, A), 1ULL);
	atomic_dec(&page->_mapcount);
	/* once as the only mapping, and once for all that there are */
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 2);
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(page));
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

/* Who has the first page locked takes it out of the file, and the CPU gets another. */
struct replacer {
	struct delayed_work work;
	struct fixture *f;
	struct page *page;
};

static void replace_page(struct work_struct *work)
{
	struct replacer *r = container_of(work, struct replacer, work.work);

	truncate_inode_page(r->f->file->f_mapping, r->page);
	cpu_write(r->f, A, 3);
	unlock_page(r->page);
}

static void make_looks_again_at_the_first_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct replacer r = { .f = f };

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	r.page = f->pages[0];
	get_page(r.page);
	lock_page(r.page);
	INIT_DELAYED_WORK_ONSTACK(&r.work, replace_page);
	schedule_delayed_work(&r.work, HZ / 10);
	KUNIT_EXPECT_EQ(test, make(f, A, 1, &owner_a), 1);
	KUNIT_EXPECT_TRUE(test, f->pages[0] != r.page);
	KUNIT_EXPECT_FALSE(test, PageLocked(r.page));
	device_exclusive_put_range(f->pages, 1);
	flush_delayed_work(&r.work);
	destroy_delayed_work_on_stack(&r.work);
	put_page(r.page);
	KUNIT_EXPECT_EQ(test, cpu_read(f, A), (u64)3);
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

/* A second one might find that a device has the page again. */
static void write_to_a_private_mapping_is_one_fault(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct side *side = &f->side[B];
	pte_t pte;

	map_both(test, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	cpu_write(f, A, 1);
	cpu_read(f, B);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, B));
	mmap_read_lock(side->mm);
	KUNIT_EXPECT_EQ(test, 0, fixup_user_fault(side->mm, side->addr,
						  FAULT_FLAG_WRITE, NULL));
	mmap_read_unlock(side->mm);
	pte = read_nth_pte(side, 0);
	KUNIT_EXPECT_TRUE(test, pte_present(pte) && pte_write(pte));
	KUNIT_EXPECT_TRUE(test, pte_page(pte) != f->pages[0]);
}

/* Its device may have plain access, and has to give that up like any other. */
static void private_mapping_is_told(struct kunit *test)
{
	struct fixture *f = test->priv;

	map_both(test, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	make_shared_page(test);
	KUNIT_EXPECT_EQ(test, f->side[B].made, 1);
	KUNIT_EXPECT_PTR_EQ(test, f->side[B].owner, (void *)&owner_a);
	KUNIT_EXPECT_EQ(test, cpu_write(f, A, 2), 0);
	KUNIT_EXPECT_EQ(test, f->side[B].broken, 1);
	KUNIT_EXPECT_TRUE(test, !f->side[B].owner);
	KUNIT_EXPECT_EQ(test, f->side[B].too_early, 0);
}

/* Other than by a fault, which need not walk where there is no other mapping */
static void break_first(struct fixture *f)
{
	struct page *page = first_page(&f->side[A]);

	lock_page(page);
	device_exclusive_break(page, NULL);
	unlock_page(page);
}

/* A copy is at the same index of the file, and has nothing to do with the page. */
static void copy_is_left_alone(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	map_both(test, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	KUNIT_EXPECT_EQ(test, cpu_write(f, B, 5), 0);
	KUNIT_EXPECT_EQ(test, cpu_write(f, A, 1), 0);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	KUNIT_EXPECT_TRUE(test, is_present(f, B));

	KUNIT_EXPECT_EQ(test, make_and_put(f, B, 1, &owner_b), 1);
	break_first(f);
	KUNIT_EXPECT_TRUE(test, is_present(f, A));
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, B));
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 5ULL);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, A));
	/* Nobody else has it, so it needs no copy any more. */
	pte = read_nth_pte(&f->side[B], 0);
	KUNIT_EXPECT_TRUE(test, pte_write(pte) && pte_dirty(pte));
}

/* What it shows of the file is no page that its device could write to. */
static void device_of_a_private_mapping_gets_a_copy(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	page = make_shared_page(test);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, B));
	KUNIT_EXPECT_EQ(test, make_and_put(f, B, 1, &owner_b), 1);
	KUNIT_EXPECT_TRUE(test, PageAnon(f->pages[0]));
	KUNIT_EXPECT_TRUE(test, f->pages[0] != page);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, B));
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 1ULL);
}

/* Which is not what a hole in the file is about */
static void hole_leaves_an_exclusive_copy(struct kunit *test)
{
	struct fixture *f = test->priv;

	map_both(test, PROT_READ | PROT_WRITE, MAP_PRIVATE);
	KUNIT_EXPECT_EQ(test, cpu_write(f, B, 5), 0);
	KUNIT_EXPECT_EQ(test, make_and_put(f, B, 1, &owner_b), 1);
	unmap_mapping_range(f->file->f_mapping, 0, 0, 0);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, B));
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 5ULL);

	KUNIT_EXPECT_EQ(test, make_and_put(f, B, 1, &owner_b), 1);
	unmap_mapping_range(f->file->f_mapping, 0, 0, 1);
	KUNIT_EXPECT_FALSE(test, is_exclusive(f, B));
}

static void read_only_mapping_comes_back_read_only(struct kunit *test)
{
	struct fixture *f = test->priv;

	map_both(test, PROT_READ, MAP_SHARED);
	expect_read_only_and_clean(test);
	KUNIT_EXPECT_EQ(test, cpu_write(f, B, 3), -EFAULT);
}

/* or of none any more, as truncation has it. */
static void page_of_another_file_is_refused(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct address_space *mapping;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	cpu_write(f, A, 1);
	page = first_page(&f->side[A]);
	lock_page(page);
	mapping = page->mapping;
	page->mapping = NULL;
	unlock_page(page);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), -EOPNOTSUPP);
	KUNIT_EXPECT_FALSE(test, PageLocked(page));
	page->mapping = mapping;
	KUNIT_EXPECT_TRUE(test, is_present(f, A));
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
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

/* One goes before it has been met. Nobody is told twice, that would go round. */
static void mappings_that_go_are_counted_again(struct kunit *test)
{
	static const int changes[] = { -1 };
	struct fixture *f = test->priv;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	cpu_write(f, A, 1);
	cpu_read(f, B);
	atomic_inc(&first_page(&f->side[A])->_mapcount);
	f->side[A].changes = changes;
	f->side[A].nr_changes = ARRAY_SIZE(changes);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	KUNIT_EXPECT_EQ(test, f->side[A].made, 1);
	KUNIT_EXPECT_EQ(test, f->side[B].made, 1);
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 0);
	KUNIT_EXPECT_EQ(test, f->side[B].broken, 0);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, A));
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, B));
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 1ULL);
	KUNIT_EXPECT_TRUE(test, is_present(f, A));
}

/* B maps the page a second time, and that mapping is not in use, yet. */
static void map_twin(struct kunit *test)
{
	struct fixture *f = test->priv;
	unsigned long addr = f->side[B].addr;

	f->twin = map(f, B, PROT_READ | PROT_WRITE, MAP_SHARED);
	KUNIT_EXPECT_FALSE(test, IS_ERR_VALUE(f->twin));
	f->side[B].addr = addr;
	/* So there is a page table. */
	cpu_read_nth(f, B, (long)(f->twin - addr) / (long)PAGE_SIZE + 1);
}

/*
 * A makes the page exclusive while B's mremap() moves an entry from where it has
 * been met to where it is met again. Who keeps B's mmap_lock, or lets go of it when
 * that is done?
 */
static int make_while_moving(struct kunit *test, bool keep)
{
	struct fixture *f = test->priv;
	int ret;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	map_twin(test);
	make_shared_page(test);
	f->watch = false;
	f->move = true;
	f->unlock = !keep;
	/* The same number of mappings, then, and one is not to be found. */
	atomic_add(f->hidden, &f->pages[0]->_mapcount);
	ret = make_and_put(f, A, 1, &owner_a);
	atomic_sub(f->hidden, &f->pages[0]->_mapcount);
	KUNIT_EXPECT_FALSE(test, f->move);
	KUNIT_EXPECT_TRUE(test,
			  is_device_exclusive_pte(read_pte(&f->side[B],
							   f->twin)) ||
			  pte_present(read_pte(&f->side[B], f->twin)));
	if (keep)
		mmap_write_unlock(f->side[B].mm);
	return ret;
}

static void entry_that_is_met_twice_is_no_error(struct kunit *test)
{
	struct fixture *f = test->priv;

	KUNIT_EXPECT_EQ(test, make_while_moving(test, true), 1);
	KUNIT_EXPECT_EQ(test, f->side[A].made, 2);
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 0);
	KUNIT_EXPECT_TRUE(test, PageDeviceExclusive(f->pages[0]));
}

static void entry_that_is_met_twice_hides_no_mapping(struct kunit *test)
{
	struct fixture *f = test->priv;

	f->hidden = 1;
	KUNIT_EXPECT_EQ(test, make_while_moving(test, false), -EOPNOTSUPP);
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(f->pages[0]));
	KUNIT_EXPECT_TRUE(test, is_present(f, A));
}

/* Another round would not tell, so it has to be for the driver to go on. */
static void mappings_that_do_not_hold_still_are_for_later(struct kunit *test)
{
	struct fixture *f = test->priv;

	f->hidden = 1;
	KUNIT_EXPECT_EQ(test, make_while_moving(test, true), -EAGAIN);
	KUNIT_EXPECT_FALSE(test, PageLocked(f->pages[0]));
	KUNIT_EXPECT_EQ(test, f->side[A].made, 2);
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 0);
	KUNIT_EXPECT_EQ(test, cpu_read(f, A), 1ULL);
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(f->pages[0]));
}

/* It is a mistake of somebody's, and no reason to fault for ever. */
static void entry_without_mark_comes_back(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	page = make_shared_page(test);
	ClearPageDeviceExclusive(page);
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 1ULL);
	KUNIT_EXPECT_TRUE(test, is_present(f, A));
	KUNIT_EXPECT_TRUE(test, is_present(f, B));
	KUNIT_EXPECT_GE(test, f->side[A].broken, 1);
	KUNIT_EXPECT_EQ(test, f->side[A].too_early, 0);
}

static long shmem_rss(struct side *side)
{
	sync_mm_rss(side->mm);
	return get_mm_counter(side->mm, MM_SHMEMPAGES);
}

static void unmapping_lets_go_of_one_mapping(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;
	int count;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	page = make_shared_page(test);
	lru_add_drain_all();
	count = page_count(page);
	kthread_use_mm(f->side[B].mm);
	vm_munmap(f->side[B].addr, PAGE_SIZE);
	kthread_unuse_mm(f->side[B].mm);
	KUNIT_EXPECT_EQ(test, page_mapcount(page), 1);
	KUNIT_EXPECT_EQ(test, page_count(page), count - 1);
	KUNIT_EXPECT_EQ(test, shmem_rss(&f->side[B]), 0L);
	KUNIT_EXPECT_EQ(test, shmem_rss(&f->side[A]), 1L);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, A));
	KUNIT_EXPECT_EQ(test, cpu_read(f, A), 1ULL);
}

/* As writeback would do, which tmpfs has none of. */
static void page_mkclean_leaves_the_entry(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;
	pte_t pte;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	page = make_shared_page(test);
	pte = read_nth_pte(&f->side[A], 0);
	lock_page(page);
	KUNIT_EXPECT_EQ(test, page_mkclean(page), 0);
	unlock_page(page);
	KUNIT_EXPECT_TRUE(test, pte_same(read_nth_pte(&f->side[A], 0), pte));
}

static void write_entry(struct side *side, pte_t pte)
{
	unsigned long addr = side->addr;
	spinlock_t *ptl;
	pte_t *ptep;

	ptep = pte_offset_map_lock(side->mm, mm_find_pmd(side->mm, addr), addr,
				   &ptl);
	set_pte_at(side->mm, addr, ptep, pte);
	pte_unmap_unlock(ptep, ptl);
}

/* What clear_refs does to the VMA and to the entry */
static void clear_soft_dirty(struct side *side)
{
	struct vm_area_struct *vma;

	mmap_write_lock(side->mm);
	vma = find_vma(side->mm, side->addr);
	vma->vm_flags &= ~VM_SOFTDIRTY;
	vma_set_page_prot(vma);
	mmap_write_unlock(side->mm);
	write_entry(side, pte_swp_clear_soft_dirty(read_nth_pte(side, 0)));
}

static void takeover_is_a_write_to_every_mapping(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;
	int nr;

	if (!IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		return;
	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	make_shared_page(test);
	for (nr = A; nr <= B; nr++) {
		pte = read_nth_pte(&f->side[nr], 0);
		KUNIT_EXPECT_TRUE(test, pte_swp_soft_dirty(pte));
		clear_soft_dirty(&f->side[nr]);
	}
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_b), 1);
	for (nr = A; nr <= B; nr++) {
		pte = read_nth_pte(&f->side[nr], 0);
		KUNIT_EXPECT_TRUE(test, pte_swp_soft_dirty(pte));
	}
}

/* The one that restores the page is a write to one of the mappings only. */
static void soft_dirty_lost_waits_for_a_write(struct kunit *test)
{
	struct fixture *f = test->priv;
	pte_t pte;

	if (!IS_ENABLED(CONFIG_MEM_SOFT_DIRTY))
		return;
	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	make_shared_page(test);
	clear_soft_dirty(&f->side[A]);
	clear_soft_dirty(&f->side[B]);
	KUNIT_EXPECT_EQ(test, cpu_write(f, A, 2), 0);
	pte = read_nth_pte(&f->side[A], 0);
	KUNIT_EXPECT_TRUE(test, pte_write(pte) && pte_soft_dirty(pte));
	pte = read_nth_pte(&f->side[B], 0);
	KUNIT_EXPECT_TRUE(test, pte_present(pte));
	KUNIT_EXPECT_FALSE(test, pte_write(pte));
	KUNIT_EXPECT_FALSE(test, pte_soft_dirty(pte));
	KUNIT_EXPECT_EQ(test, cpu_write(f, B, 3), 0);
	KUNIT_EXPECT_TRUE(test, pte_soft_dirty(read_nth_pte(&f->side[B], 0)));
}

static void count_ends_at_a_page_that_is_locked(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 4, &owner_a), 4);
	page = f->pages[2];
	lock_page(page);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 4, &owner_a), 2);
	KUNIT_EXPECT_TRUE(test, PageLocked(page));
	unlock_page(page);
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

static void scan_announces_its_window(struct kunit *test)
{
	const int order[][2] = {
		{ 0, 1 }, { 1, 2 }, { 2, 4 },
	};
	struct fixture *f = test->priv;
	int nr;

	make_all_pages(test);
	expect_back(test, order, ARRAY_SIZE(order));
	for (nr = A; nr <= B; nr++) {
		struct side *side = &f->side[nr];

		KUNIT_EXPECT_EQ(test, side->start, side->addr + 2 * PAGE_SIZE);
		KUNIT_EXPECT_EQ(test, side->end, side->addr + 4 * PAGE_SIZE);
	}
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

/* B has the fourth page mapped as well, and a device may have it through B. */
static void scan_of_pages_mapped_once_leaves_others(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	KUNIT_EXPECT_EQ(test, cpu_write_nth(f, B, 3, 3), 0);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, NPAGES, &owner_a), NPAGES);
	f->watch = true;
	current->device_exclusive_scan = 0;
	for (i = 0; i < 3; i++)
		cpu_read_nth(f, A, i);
	KUNIT_EXPECT_EQ(test, count_present(f, A), 3);
	KUNIT_EXPECT_TRUE(test, PageDeviceExclusive(f->pages[3]));
	KUNIT_EXPECT_EQ(test, f->side[B].broken, 0);
	KUNIT_EXPECT_EQ(test, cpu_read_nth(f, A, 3), 3ULL);
	KUNIT_EXPECT_EQ(test, f->side[B].broken, 1);
	KUNIT_EXPECT_EQ(test, f->side[B].too_early, 0);
	KUNIT_EXPECT_TRUE(test, pte_present(read_nth_pte(&f->side[B], 3)));
}

static void touch_at_random_gives_back_one_page(struct kunit *test)
{
	const int order[][2] = {
		{ 3, 1 }, { 0, 2 }, { 7, 3 }, { 5, 4 },
	};

	make_all_pages(test);
	expect_back(test, order, ARRAY_SIZE(order));
}

#ifdef CONFIG_VM_EVENT_COUNTERS

/* Of the mappings that a fault gives back, which one was touched? */
static void vmstat_tells_the_mappings_apart(struct kunit *test)
{
	static unsigned long old[NR_VM_EVENT_ITEMS], new[NR_VM_EVENT_ITEMS];
	struct fixture *f = test->priv;
	int i;

	all_vm_events(old);
	make_all_pages(test);
	for (i = 0; i < 4; i++)
		cpu_read_nth(f, B, i);
	all_vm_events(new);
	KUNIT_EXPECT_EQ(test, new[DEVICE_EXCLUSIVE_MAKE],
			old[DEVICE_EXCLUSIVE_MAKE] + NPAGES);
	/* the windows are 1, 1 and 2 pages */
	KUNIT_EXPECT_EQ(test, new[DEVICE_EXCLUSIVE_FAULT],
			old[DEVICE_EXCLUSIVE_FAULT] + 3);
	KUNIT_EXPECT_EQ(test, new[DEVICE_EXCLUSIVE_AHEAD],
			old[DEVICE_EXCLUSIVE_AHEAD] + 1);
	KUNIT_EXPECT_EQ(test, new[DEVICE_EXCLUSIVE_RESTORE],
			old[DEVICE_EXCLUSIVE_RESTORE] + 4);
}

#else

static void vmstat_tells_the_mappings_apart(struct kunit *test)
{
	kunit_info(test, "this kernel does not count\n");
}

#endif /* CONFIG_VM_EVENT_COUNTERS */

#ifdef CONFIG_TRACEPOINTS

/* Where a trace event has been last */
struct traced {
	struct mm_struct *mm;
	unsigned long start;
	int npages;
	int times;
};

static void trace_back(void *data, struct mm_struct *mm, unsigned long start,
		       int npages)
{
	struct traced *traced = data;

	traced->mm = mm;
	traced->start = start;
	traced->npages = npages;
	traced->times++;
}

static void trace_events_tell_the_mappings_apart(struct kunit *test)
{
	struct traced broken = {}, restored = {};
	struct fixture *f = test->priv;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	make_shared_page(test);
	register_trace_device_exclusive_break(trace_back, &broken);
	register_trace_device_exclusive_restore(trace_back, &restored);
	cpu_read(f, B);
	unregister_trace_device_exclusive_break(trace_back, &broken);
	unregister_trace_device_exclusive_restore(trace_back, &restored);
	tracepoint_synchronize_unregister();

	KUNIT_EXPECT_EQ(test, broken.times, 1);
	KUNIT_EXPECT_PTR_EQ(test, broken.mm, f->side[B].mm);
	KUNIT_EXPECT_EQ(test, broken.start, f->side[B].addr);
	KUNIT_EXPECT_EQ(test, broken.npages, 1);
	KUNIT_EXPECT_EQ(test, restored.times, 1);
	KUNIT_EXPECT_PTR_EQ(test, restored.mm, f->side[A].mm);
	KUNIT_EXPECT_EQ(test, restored.start, f->side[A].addr);
	KUNIT_EXPECT_EQ(test, restored.npages, 1);
}

#else

static void trace_events_tell_the_mappings_apart(struct kunit *test)
{
	kunit_info(test, "this kernel does not trace\n");
}

#endif /* CONFIG_TRACEPOINTS */

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

/* As huge=always does, the number of which is private to shmem.c */
#define SHMEM_ALWAYS	1

static struct shmem_sb_info *shmem_sb(struct fixture *f)
{
	return file_inode(f->file)->i_sb->s_fs_info;
}

/* Let A fault in the first page of the file as part of a huge page, and return it. */
static struct page *fault_in_huge(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;

	shmem_sb(f)->huge = SHMEM_ALWAYS;
	KUNIT_EXPECT_EQ(test, cpu_write(f, A, 0), 0);
	shmem_sb(f)->huge = 0;
	page = find_get_page(f->file->f_mapping, 0);
	if (page && PageTransHuge(page))
		return page;
	kunit_info(test, "no huge page to be had\n");
	if (page)
		put_page(page);
	return NULL;
}

/* A has a huge page mapped by PTEs, as its VMA is too small for it. */
static struct page *map_huge_by_ptes(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *page;
	int i;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	page = fault_in_huge(test);
	for (i = 1; page && i < NPAGES; i++)
		cpu_write_nth(f, A, i, i);
	lru_add_drain_all();
	return page;
}

/* Map the file where a huge page fits: PMD @at of the address space. */
static void map_at_pmd(struct kunit *test, int nr, int at)
{
	struct fixture *f = test->priv;
	unsigned long addr = at * PMD_SIZE;

	kthread_use_mm(f->side[nr].mm);
	KUNIT_EXPECT_EQ(test, addr,
			vm_mmap(f->file, addr, PMD_SIZE, PROT_READ | PROT_WRITE,
				MAP_SHARED | MAP_FIXED, 0));
	kthread_unuse_mm(f->side[nr].mm);
	f->side[nr].addr = addr;
}

/* Nothing has been mapped yet. */
static bool use_larger_file(struct kunit *test, int npmds)
{
	struct file *file = shmem_file_setup("kunit", npmds * PMD_SIZE, 0);
	struct fixture *f = test->priv;

	KUNIT_EXPECT_FALSE(test, IS_ERR(file));
	if (IS_ERR(file))
		return false;
	fput(f->file);
	f->file = file;
	return true;
}

static bool is_mapped_by_pmd(struct fixture *f, int nr)
{
	return !mm_find_pmd(f->side[nr].mm, f->side[nr].addr);
}

/* A huge page that A has mapped by a PMD */
static struct page *map_huge_by_pmd(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct page *head;
	int i;

	if (!use_larger_file(test, 1))
		return NULL;
	map_at_pmd(test, A, 8);
	head = fault_in_huge(test);
	if (!head)
		return NULL;
	KUNIT_EXPECT_TRUE(test, is_mapped_by_pmd(f, A));
	for (i = 0; i < NPAGES; i++)
		f->pages[i] = head + i;
	return head;
}

static void huge_mappings_of_others_give_way(struct kunit *test)
{
	struct page *head = map_huge_by_pmd(test);
	struct fixture *f = test->priv;

	if (!head)
		return;
	map_at_pmd(test, B, 8);
	KUNIT_EXPECT_EQ(test, cpu_write_nth(f, B, 1, 5), 0);
	KUNIT_EXPECT_TRUE(test, is_mapped_by_pmd(f, B));
	KUNIT_EXPECT_EQ(test, make(f, A, 1, &owner_a), 1);
	KUNIT_EXPECT_FALSE(test, is_mapped_by_pmd(f, A));
	KUNIT_EXPECT_EQ(test, compound_mapcount(head), 0);
	KUNIT_EXPECT_EQ(test, page_mapcount(head), 1);
	KUNIT_EXPECT_TRUE(test, PageTransHuge(head));
	device_exclusive_put_range(f->pages, 1);
	KUNIT_EXPECT_EQ(test, cpu_read_nth(f, A, 1), 5ULL);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, A));
	put_page(head);
}

/* Its PMD would let the CPU at what the device has. */
static void huge_page_is_not_mapped_by_a_pmd_meanwhile(struct kunit *test)
{
	struct page *head = map_huge_by_pmd(test);
	struct fixture *f = test->priv;

	if (!head)
		return;
	map_at_pmd(test, B, 8);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 1, &owner_a), 1);
	KUNIT_EXPECT_EQ(test, cpu_write_nth(f, B, 1, 5), 0);
	KUNIT_EXPECT_FALSE(test, is_mapped_by_pmd(f, B));
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, A));
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 0);
	KUNIT_EXPECT_EQ(test, cpu_read(f, B), 0ULL);
	KUNIT_EXPECT_GE(test, f->side[A].broken, 1);
	KUNIT_EXPECT_TRUE(test, is_present(f, A));
	put_page(head);
}

/* Both have mapped three small pages of a file, and three of a huge one behind. */
static bool map_behind_small_pages(struct kunit *test)
{
	struct fixture *f = test->priv;
	int nr, i;

	if (!IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) ||
	    !use_larger_file(test, 2))
		return false;
	for (nr = A; nr <= B; nr++)
		map_part(f, nr, PTRS_PER_PTE - 3, 6);
	for (i = 0; i < 3; i++)
		cpu_write_nth(f, A, i, i);
	shmem_sb(f)->huge = SHMEM_ALWAYS;
	cpu_write_nth(f, A, 3, 3);
	shmem_sb(f)->huge = 0;
	for (nr = A; nr <= B; nr++)
		for (i = 0; i < 6; i++)
			cpu_write_nth(f, nr, i, i);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 6, &owner_a), 6);
	f->watch = true;
	current->device_exclusive_scan = 0;
	return PageTransCompound(f->pages[3]);
}

/* It comes back whole, or not at all. */
static void scan_leaves_a_huge_page(struct kunit *test)
{
	struct fixture *f = test->priv;
	int i;

	if (!map_behind_small_pages(test)) {
		kunit_info(test, "no huge page to be had\n");
		return;
	}
	for (i = 0; i < 3; i++)
		KUNIT_EXPECT_EQ(test, cpu_read_nth(f, B, i), (u64)i);
	for (i = 3; i < 6; i++)
		KUNIT_EXPECT_FALSE(test,
				   pte_present(read_nth_pte(&f->side[B], i)));
	KUNIT_EXPECT_TRUE(test, PageDeviceExclusive(compound_head(f->pages[3])));
	KUNIT_EXPECT_EQ(test, cpu_read_nth(f, A, 4), 4ULL);
	KUNIT_EXPECT_TRUE(test, pte_present(read_nth_pte(&f->side[B], 5)));
	KUNIT_EXPECT_EQ(test, f->side[B].too_early, 0);
}

/* That nobody else maps it is no reason to leave the other subpages. */
static void huge_page_comes_back_whole(struct kunit *test)
{
	struct page *head = map_huge_by_ptes(test);
	struct fixture *f = test->priv;

	if (!head)
		return;
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 4, &owner_a), 4);
	KUNIT_EXPECT_TRUE(test, PageDeviceExclusive(head));
	KUNIT_EXPECT_EQ(test, count_present(f, A), NPAGES - 4);
	KUNIT_EXPECT_EQ(test, cpu_read_nth(f, A, 1), 1ULL);
	KUNIT_EXPECT_EQ(test, count_present(f, A), NPAGES);
	KUNIT_EXPECT_GE(test, f->side[A].broken, 1);
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(head));
	KUNIT_EXPECT_FALSE(test, PageLocked(head));
	put_page(head);
}

/* Another mm may map what no device has, and the device keeps what it has. */
static void huge_page_is_shared_with_the_device(struct kunit *test)
{
	struct page *head = map_huge_by_ptes(test);
	struct fixture *f = test->priv;

	if (!head)
		return;
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 2, &owner_a), 2);
	KUNIT_EXPECT_EQ(test, cpu_write_nth(f, B, 2, 5), 0);
	KUNIT_EXPECT_TRUE(test, is_exclusive(f, A));
	KUNIT_EXPECT_TRUE(test, PageDeviceExclusive(head));
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 0);
	/* A tail page, which has no mark of its own */
	KUNIT_EXPECT_EQ(test, cpu_read_nth(f, B, 1), 1ULL);
	KUNIT_EXPECT_TRUE(test, is_present(f, A));
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(head));
	KUNIT_EXPECT_EQ(test, f->side[A].broken, 1);
	put_page(head);
}

/* The pages that come of it have been unmapped. */
static void split_huge_page_loses_the_mark(struct kunit *test)
{
	struct page *head = map_huge_by_ptes(test);
	struct fixture *f = test->priv;

	if (!head)
		return;
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 2, &owner_a), 2);
	lock_page(head);
	KUNIT_EXPECT_EQ(test, split_huge_page(head), 0);
	KUNIT_EXPECT_FALSE(test, PageDeviceExclusive(head));
	KUNIT_EXPECT_FALSE(test, PageMappedToDisk(head + 1));
	unlock_page(head);
	KUNIT_EXPECT_EQ(test, cpu_read_nth(f, A, 1), 1ULL);
	put_page(head);
}

/* Each page of a run has a reference, and goes without it if there is an error. */
static void huge_page_keeps_no_reference(struct kunit *test)
{
	struct page *head = map_huge_by_ptes(test);
	struct fixture *f = test->priv;
	int count;

	if (!head)
		return;
	count = page_count(head);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 4, &owner_a), 4);
	KUNIT_EXPECT_EQ(test, page_count(head), count);

	/* mapped out of reach, so that the first page is tried alone */
	atomic_inc(&head[2]._mapcount);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 4, &owner_a), 1);
	atomic_dec(&head[2]._mapcount);
	KUNIT_EXPECT_EQ(test, page_count(head), count);

	atomic_inc(&head[0]._mapcount);
	KUNIT_EXPECT_EQ(test, make_and_put(f, A, 4, &owner_a), -EOPNOTSUPP);
	atomic_dec(&head[0]._mapcount);
	KUNIT_EXPECT_EQ(test, page_count(head), count);
	KUNIT_EXPECT_FALSE(test, PageLocked(head));
	put_page(head);
}

/*
 * Write to all pages of a side as another thread of the program would, but for
 * faults. What comes through is by the TLB, or a mapping.
 */
static int write_thread(void *data)
{
	struct side *side = data;
	unsigned long addr = side->addr;
	u64 n = 0;

	kthread_use_mm(side->mm);
	while (!kthread_should_stop()) {
		pagefault_disable();
		put_user(n, (u64 __user *)addr + n % NPAGES * WORDS);
		n++;
		pagefault_enable();
		cond_resched();
	}
	kthread_unuse_mm(side->mm);
	return 0;
}

/* Let it write to f->pages from another CPU, if there is one. */
static struct task_struct *start_to_write(struct kunit *test, int nr)
{
	unsigned int cpu = cpumask_any_but(cpu_online_mask, raw_smp_processor_id());
	struct fixture *f = test->priv;
	struct task_struct *thread;

	thread = kthread_create(write_thread, &f->side[nr], "write");
	KUNIT_EXPECT_FALSE(test, IS_ERR(thread));
	if (IS_ERR(thread))
		return NULL;
	if (cpu < nr_cpu_ids)
		kthread_bind(thread, cpu);
	wake_up_process(thread);
	KUNIT_EXPECT_TRUE(test, is_written(f));
	return thread;
}

/* B has mapped all pages, and so has A if @both. They are in f->pages. */
static void map_all_pages(struct kunit *test, bool both)
{
	struct fixture *f = test->priv;
	int i;

	map_both(test, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (i = 0; i < NPAGES; i++) {
		cpu_write_nth(f, B, i, 0);
		if (both)
			cpu_write_nth(f, A, i, 0);
		f->pages[i] = pte_page(read_nth_pte(&f->side[B], i));
	}
}

static void no_cpu_writes_while_a_driver_has_the_pages(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct task_struct *thread;

	map_all_pages(test, true);
	thread = start_to_write(test, B);
	if (!thread)
		return;
	KUNIT_EXPECT_EQ(test, make(f, A, NPAGES, &owner_a), NPAGES);
	KUNIT_EXPECT_FALSE(test, is_written(f));
	device_exclusive_put_range(f->pages, NPAGES);
	kthread_stop(thread);
}

/* As reclaim does, which flushes when it has unmapped many pages */
static void unmap_without_flush(struct kunit *test)
{
	enum ttu_flags flags = TTU_IGNORE_MLOCK | TTU_BATCH_FLUSH;
	struct fixture *f = test->priv;
	int i;

	for (i = 0; i < NPAGES; i++) {
		get_page(f->pages[i]);
		lock_page(f->pages[i]);
		KUNIT_EXPECT_TRUE(test, try_to_unmap(f->pages[i], flags));
		unlock_page(f->pages[i]);
		put_page(f->pages[i]);
	}
}

static void no_cpu_writes_to_what_reclaim_has_unmapped(struct kunit *test)
{
	struct fixture *f = test->priv;
	struct task_struct *thread;

	map_all_pages(test, false);
	thread = start_to_write(test, B);
	if (!thread)
		return;
	unmap_without_flush(test);
	KUNIT_EXPECT_EQ(test, make(f, A, NPAGES, &owner_a), NPAGES);
	KUNIT_EXPECT_FALSE(test, is_written(f));
	device_exclusive_put_range(f->pages, NPAGES);
	try_to_unmap_flush();
	kthread_stop(thread);
}

static void unmap_pmd(struct side *side)
{
	kthread_use_mm(side->mm);
	vm_munmap(side->addr, PMD_SIZE);
	kthread_unuse_mm(side->mm);
}

/*
 * The VMA may be gone from the file by then, so that who takes all mappings of
 * the page away does not find the mm to flush.
 */
static void no_cpu_writes_to_a_huge_page_let_go(struct kunit *test)
{
	struct page *head = map_huge_by_pmd(test);
	struct fixture *f = test->priv;
	struct task_struct *thread;

	if (!head)
		return;
	thread = start_to_write(test, A);
	if (thread) {
		f->watch_writes = true;
		unmap_pmd(&f->side[A]);
		KUNIT_EXPECT_FALSE(test, f->written);
		KUNIT_EXPECT_FALSE(test, page_mapped(head));
		kthread_stop(thread);
	}
	put_page(head);
}

/* As mremap() does, to where side A has mapped the same without touching it. */
static void move_pmd(struct side *side, unsigned long from)
{
	struct mm_struct *mm = side->mm;

	mmap_write_lock(mm);
	move_page_tables(find_vma(mm, from), from, find_vma(mm, side->addr),
			 side->addr, PMD_SIZE, false);
	mmap_write_unlock(mm);
}

static void no_cpu_writes_where_a_huge_page_was(struct kunit *test)
{
	struct page *head = map_huge_by_pmd(test);
	struct fixture *f = test->priv;
	struct task_struct *thread;
	unsigned long addr;

	if (!head)
		return;
	addr = f->side[A].addr;
	thread = start_to_write(test, A);
	if (thread) {
		map_at_pmd(test, A, 16);
		f->watch_writes = true;
		move_pmd(&f->side[A], addr);
		KUNIT_EXPECT_FALSE(test, f->written);
		kthread_stop(thread);
	}
	put_page(head);
}

static struct kunit_case shared_cases[] = {
	KUNIT_CASE(every_mapping_is_taken_away),
	KUNIT_CASE(page_that_was_only_read_is_dirty_then),
	KUNIT_CASE(unmapped_page_is_dirty),
	KUNIT_CASE(mapping_of_a_part_is_told_of_that),
	KUNIT_CASE(every_mm_is_told_for_whom),
	KUNIT_CASE(touch_gives_back_every_mapping),
	KUNIT_CASE(nobody_has_it_before_the_last_is_told),
	KUNIT_CASE(new_mapping_tells_the_others_first),
	KUNIT_CASE(fault_restores_a_young_mapping),
	KUNIT_CASE(only_mapping_comes_back_alone),
	KUNIT_CASE(mapping_that_comes_meanwhile_is_seen),
	KUNIT_CASE(make_looks_again_at_the_first_page),
	KUNIT_CASE(private_mapping_comes_back_read_only),
	KUNIT_CASE(write_to_a_private_mapping_is_one_fault),
	KUNIT_CASE(private_mapping_is_told),
	KUNIT_CASE(copy_is_left_alone),
	KUNIT_CASE(device_of_a_private_mapping_gets_a_copy),
	KUNIT_CASE(hole_leaves_an_exclusive_copy),
	KUNIT_CASE(read_only_mapping_comes_back_read_only),
	KUNIT_CASE(page_of_another_file_is_refused),
	KUNIT_CASE(page_mapped_out_of_reach_is_refused),
	KUNIT_CASE(page_mapped_out_of_reach_ends_the_count),
	KUNIT_CASE(mappings_that_go_are_counted_again),
	KUNIT_CASE(entry_that_is_met_twice_is_no_error),
	KUNIT_CASE(entry_that_is_met_twice_hides_no_mapping),
	KUNIT_CASE(mappings_that_do_not_hold_still_are_for_later),
	KUNIT_CASE(entry_without_mark_comes_back),
	KUNIT_CASE(takeover_is_a_write_to_every_mapping),
	KUNIT_CASE(soft_dirty_lost_waits_for_a_write),
	KUNIT_CASE(count_ends_at_a_page_that_is_locked),
	KUNIT_CASE(unmapping_lets_go_of_one_mapping),
	KUNIT_CASE(page_mkclean_leaves_the_entry),
	KUNIT_CASE(mark_without_entries_does_no_harm),
	KUNIT_CASE(truncated_page_loses_the_mark),
	KUNIT_CASE(migration_ends_it_before_it_begins),
	KUNIT_CASE(migration_leaves_the_mark_behind),
	KUNIT_CASE(scan_has_a_window),
	KUNIT_CASE(scan_brings_pages_back_old),
	KUNIT_CASE(scan_announces_its_window),
	KUNIT_CASE(scan_leaves_what_is_locked),
	KUNIT_CASE(scan_of_pages_mapped_once_leaves_others),
	KUNIT_CASE(touch_at_random_gives_back_one_page),
	KUNIT_CASE(vmstat_tells_the_mappings_apart),
	KUNIT_CASE(trace_events_tell_the_mappings_apart),
	KUNIT_CASE(fault_around_leaves_it_with_the_device),
	KUNIT_CASE(huge_page_comes_back_whole),
	KUNIT_CASE(huge_page_is_shared_with_the_device),
	KUNIT_CASE(split_huge_page_loses_the_mark),
	KUNIT_CASE(huge_mappings_of_others_give_way),
	KUNIT_CASE(huge_page_is_not_mapped_by_a_pmd_meanwhile),
	KUNIT_CASE(scan_leaves_a_huge_page),
	KUNIT_CASE(huge_page_keeps_no_reference),
	KUNIT_CASE(no_cpu_writes_while_a_driver_has_the_pages),
	KUNIT_CASE(no_cpu_writes_to_what_reclaim_has_unmapped),
	KUNIT_CASE(no_cpu_writes_to_a_huge_page_let_go),
	KUNIT_CASE(no_cpu_writes_where_a_huge_page_was),
	{}
};

static struct kunit_suite shared_suite = {
	.name = "device_exclusive_shared",
	.init = fixture_init,
	.exit = fixture_exit,
	.test_cases = shared_cases,
};

kunit_test_suite(shared_suite);
