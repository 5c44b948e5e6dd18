// SPDX-License-Identifier: GPL-2.0
/*
 * Device-exclusive memory that is shared
 *
 * A page of tmpfs may be mapped by many address spaces, and by another one at
 * any time, through the page cache. So it is the page that is exclusive, and not
 * a mapping: all of its mappings become entries, and all come back together. To
 * whoever is about to map it anew PageDeviceExclusive() says so, on the head of a
 * compound page for all of it. That is set and cleared under the page lock, which
 * everybody holds who maps a page of the page cache. Hence
 *
 *  - while a driver has the page locked, no CPU gets a mapping;
 *  - a page that is marked has no present mapping but for subpages that are not
 *    exclusive, and gets none without device_exclusive_break();
 *  - a device may have permission only through an address at which there is an
 *    entry: what takes an entry away tells the device, and so does
 *    device_exclusive_break(), in every mm, before the first CPU gets a mapping.
 *
 * Of a compound page each page has a mark of its own, too, which says that it has
 * been made exclusive: a tail by the same flag, and the head by PG_head_exclusive
 * of the page behind it. They mean nothing without that on the head.
 *
 * Unmapping cannot take the page lock, so a mark may stay behind. It does not lie,
 * as all mappings that a marked page has are entries: when these are gone, nothing
 * maps it. Who is about to map it sees that and takes the mark away, and with the
 * last one of a compound page that on the head.
 *
 * i_mmap_rwsem comes between the page lock and the notifiers.
 */
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <trace/events/device_exclusive.h>

#include <asm/tlbflush.h>

#include "device_exclusive.h"
#include "internal.h"

/* Pages of a file, side by side and locked, and what is done to their mappings */
struct shared_walk {
	struct address_space *mapping;
	pgoff_t first, last;
	/* The pages, or else the head of the compound page that they are */
	struct page **pages;
	struct page *head;
	/* The fault that wants them back, if any */
	struct vm_fault *vmf;
	/* When they are made exclusive: for whom, in which mm, is any huge */
	void *owner;
	struct mm_struct *mm;
	bool compound;
	/* How many entries, and may that be wrong? See make_all_mappings(). */
	long made;
	bool movable, busy;
};

static inline struct page *shared_page(struct shared_walk *walk,
				       unsigned long i)
{
	return walk->pages ? walk->pages[i] : walk->head + i;
}

typedef void (*shared_vma_fn)(struct shared_walk *walk,
			      struct vm_area_struct *vma,
			      unsigned long start, unsigned long end);
typedef void (*shared_pmd_fn)(struct shared_walk *walk,
			      struct vm_area_struct *vma, pmd_t *pmd,
			      unsigned long start, unsigned long end);

static void walk_vma(struct shared_walk *walk, struct vm_area_struct *vma,
		     shared_vma_fn fn)
{
	pgoff_t first = max(walk->first, vma->vm_pgoff);
	pgoff_t last = min(walk->last, vma->vm_pgoff + vma_pages(vma) - 1);

	cond_resched();
	fn(walk, vma,
	   vma->vm_start + ((first - vma->vm_pgoff) << PAGE_SHIFT),
	   vma->vm_start + ((last + 1 - vma->vm_pgoff) << PAGE_SHIFT));
}

/*
 * Call @fn for each VMA that can map any of the pages, in the order of the tree:
 * fork() and mremap() see to it that a mapping which moves or is copied meanwhile
 * is found. i_mmap_rwsem is held.
 */
static void walk_vmas(struct shared_walk *walk, shared_vma_fn fn)
{
	struct vm_area_struct *vma;

	vma_interval_tree_foreach(vma, &walk->mapping->i_mmap, walk->first,
				  walk->last)
		walk_vma(walk, vma, fn);
}

/*
 * Page tables of a VMA of a file stay while i_mmap_rwsem is held: munmap() takes
 * the VMA out of the tree before it frees them, and whoever frees or moves them
 * otherwise holds it for writing.
 */
static void walk_pmds(struct shared_walk *walk, struct vm_area_struct *vma,
		      unsigned long start, unsigned long end, shared_pmd_fn fn)
{
	unsigned long next;
	pmd_t *pmd;

	for (; start < end; start = next) {
		next = pmd_addr_end(start, end);
		pmd = mm_find_pmd(vma->vm_mm, start);
		if (pmd)
			fn(walk, vma, pmd, start, next);
	}
}

static void invalidate_vma(struct shared_walk *walk, struct vm_area_struct *vma,
			   unsigned long start, unsigned long end)
{
	struct mmu_notifier_range range;

	mmu_notifier_range_init(&range, MMU_NOTIFY_EXCLUSIVE, 0, vma,
				vma->vm_mm, start, end);
	mmu_notifier_invalidate_range_start(&range);
	mmu_notifier_invalidate_range_end(&range);
}

/* Put one mapping of a page back. The page-table lock is held. */
static void restore_shared(struct vm_fault *vmf, struct vm_area_struct *vma,
			   unsigned long addr, pte_t *ptep, struct page *page)
{
	bool touched = vmf && vma == vmf->vma && addr == vmf->address;
	bool written = touched && vmf->flags & FAULT_FLAG_WRITE;
	pte_t pte;

	pte = present_pte(vma, page, *ptep, written || !soft_dirty_lost(*ptep),
			  false);
	set_present_pte(vma, addr, ptep, touched ? pte_mkyoung(pte) : pte);
	device_exclusive_mlock(vma, page, page);
	if (touched) {
		count_vm_event(DEVICE_EXCLUSIVE_FAULT);
		trace_device_exclusive_break(vma->vm_mm, addr, 1);
	} else if (vmf && vma == vmf->vma) {
		count_vm_event(DEVICE_EXCLUSIVE_AHEAD);
		trace_device_exclusive_break(vma->vm_mm, addr, 1);
	} else {
		count_vm_event(DEVICE_EXCLUSIVE_RESTORE);
		trace_device_exclusive_restore(vma->vm_mm, addr, 1);
	}
}

static void restore_shared_pmd(struct shared_walk *walk,
			       struct vm_area_struct *vma, pmd_t *pmd,
			       unsigned long addr, unsigned long end)
{
	unsigned long i = linear_page_index(vma, addr) - walk->first;
	pte_t *start_pte, *ptep;
	struct page *page;
	spinlock_t *ptl;

	start_pte = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	for (ptep = start_pte; addr < end; ptep++, addr += PAGE_SIZE, i++) {
		page = exclusive_page(*ptep);
		if (page && page == shared_page(walk, i))
			restore_shared(walk->vmf, vma, addr, ptep, page);
	}
	pte_unmap_unlock(start_pte, ptl);
}

static void restore_shared_vma(struct shared_walk *walk,
			       struct vm_area_struct *vma, unsigned long start,
			       unsigned long end)
{
	walk_pmds(walk, vma, start, end, restore_shared_pmd);
}

/*
 * Take pages from every device and give them back to every CPU. Only when the
 * last device has been told does the first mapping come back; that no driver
 * gives permission anew between the two is what the page locks are for.
 */
static void break_walk(struct shared_walk *walk)
{
	i_mmap_lock_read(walk->mapping);
	walk_vmas(walk, invalidate_vma);
	walk_vmas(walk, restore_shared_vma);
	i_mmap_unlock_read(walk->mapping);
}

/* Has this very page been made exclusive? The head of it is marked. */
static bool is_marked(struct page *page)
{
	if (PageHead(page))
		return test_bit(PG_head_exclusive, &page[1].flags);
	return test_bit(PG_device_exclusive, &page->flags);
}

static void clear_mark(struct page *page)
{
	if (!is_marked(page))
		return;
	if (PageHead(page))
		clear_bit(PG_head_exclusive, &page[1].flags);
	else
		clear_bit(PG_device_exclusive, &page->flags);
}

static void clear_all_marks(struct page *head)
{
	int i;

	for (i = 0; i < compound_nr(head); i++)
		clear_mark(head + i);
	ClearPageDeviceExclusive(head);
}

/**
 * device_exclusive_break() - take a page of the page cache from all devices
 * @page: a page of the page cache that is marked, or that has an entry
 * @vmf: the fault that wants it, or NULL
 *
 * All of a compound page comes back, wherever it is mapped.
 *
 * Context: The page is locked. No notifier range is open, and i_mmap_rwsem is not
 * held. May sleep.
 */
void device_exclusive_break(struct page *page, struct vm_fault *vmf)
{
	struct page *head = compound_head(page);
	struct shared_walk walk = {
		.mapping = head->mapping,
		.first = head->index,
		.last = head->index + compound_nr(head) - 1,
		.head = head,
		.vmf = vmf,
	};

	VM_BUG_ON_PAGE(!PageLocked(head), head);
	/* Truncated: nothing maps it any more. */
	if (walk.mapping)
		break_walk(&walk);
	clear_all_marks(head);
}

/*
 * Does a device have this very page? It may have lost its mappings since it was
 * made exclusive, and got none. The page is locked, so it gets none now.
 */
static bool is_exclusive(struct page *page)
{
	return is_marked(page) && page_mapcount(page);
}

/* The same for any page of a compound one, from its struct pages alone */
static bool is_any_exclusive(struct page *head)
{
	int i;

	for (i = 0; i < compound_nr(head); i++)
		if (is_exclusive(head + i))
			return true;
	return false;
}

/**
 * device_exclusive_map() - a fault is about to map or copy a page cache page
 * @vmf: the fault
 * @page: a page that PageDeviceExclusive() is true for
 *
 * Takes the page from the device, or the mark from a page that no device has. What
 * a device has of a huge page it can keep, as long as this fault is about
 * another part of it, and maps that by a PTE: see to it that there is a page
 * table. (The one that the fault has brought may be needed later. Nobody who
 * reclaims memory for a new one waits for the lock of a page of tmpfs.) If no
 * device has any of it any more, the huge page may be mapped whole again.
 *
 * Context: The page is locked, mmap_lock is held for reading. May sleep.
 */
void device_exclusive_map(struct vm_fault *vmf, struct page *page)
{
	struct page *head = compound_head(page);

	if (is_exclusive(page)) {
		device_exclusive_break(page, NULL);
	} else if (!is_any_exclusive(head)) {
		clear_all_marks(head);
	} else {
		/* What has been zapped is about to be mapped for the CPU. */
		clear_mark(page);
		if (pte_alloc(vmf->vma->vm_mm, vmf->pmd))
			device_exclusive_break(page, NULL);
	}
}

/* The most pages with other mappings that one fault gives back */
#define SHARED_WINDOW	16

/*
 * Lock the next pages of a scan of shared memory, up to the first that is not to be
 * had; a huge page comes back by a fault of its own. They are in the file as long
 * as they are locked, which keeps them. pages[0] is that of the fault. Returns how
 * many are locked, with that one.
 */
static int lock_ahead(struct vm_fault *vmf, struct window *window,
		      struct page **pages)
{
	struct page *page;
	int n;

	vmf->pte = pte_offset_map_lock(vmf->vma->vm_mm, vmf->pmd, vmf->address,
				       &vmf->ptl);
	for (n = 1; n < window->npages; n++) {
		page = exclusive_page(vmf->pte[n * window->step]);
		if (!page || PageAnon(page) || PageCompound(page) ||
		    !trylock_page(page))
			break;
		pages[n] = page;
	}
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	return n;
}

static void reverse(struct page **pages, int npages)
{
	int i;

	for (i = 0; i < npages / 2; i++)
		swap(pages[i], pages[npages - 1 - i]);
}

/*
 * Break the page of a fault, which is locked and has other mappings, and with it,
 * in the same two walks, what @window says that a scan wants next, as far as it can
 * be had; @window says how far that was. The page is still in the file: what leaves
 * that has lost the mark, and the entry.
 */
void device_exclusive_break_window(struct vm_fault *vmf, struct page *page,
				   struct window *window)
{
	struct page *pages[SHARED_WINDOW];
	struct shared_walk walk = {
		.mapping = page->mapping,
		.pages = pages,
		.vmf = vmf,
	};
	int i;

	pages[0] = page;
	window->npages = min(window->npages, SHARED_WINDOW);
	if (window->npages > 1)
		window->npages = lock_ahead(vmf, window, pages);
	if (window->step < 0)
		reverse(pages, window->npages);

	walk.first = linear_page_index(vmf->vma, window_start(vmf, window));
	walk.last = walk.first + window->npages - 1;
	break_walk(&walk);
	for (i = 0; i < window->npages; i++) {
		ClearPageDeviceExclusive(pages[i]);
		if (pages[i] != page)
			unlock_page(pages[i]);
	}
}

static void set_mark(struct page *page, struct page *head)
{
	SetPageDeviceExclusive(head);
	if (PageHead(page))
		set_bit(PG_head_exclusive, &page[1].flags);
	else if (page != head)
		set_bit(PG_device_exclusive, &page->flags);
}

/*
 * Lock, mark and make dirty as many leading pages of the range as can be had,
 * pages[0] being locked already. Their mappings stay as they are. Returns the
 * number of pages, with a reference each; 0 if the first is not mapped here any
 * more, or an error if it is not what a file of tmpfs has.
 */
static int mark_shared(struct vm_area_struct *vma, pmd_t *pmd,
		       unsigned long addr, unsigned long end,
		       struct page **pages)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	struct page *locked = compound_head(pages[0]);
	pte_t *start_pte, *ptep;
	int n = 0, err = 0;
	spinlock_t *ptl;

	start_pte = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	for (ptep = start_pte; addr < end; ptep++, addr += PAGE_SIZE) {
		struct page *page, *head;

		if (!is_writable(*ptep))
			break;
		page = writable_page(*ptep);
		if (!n && page != pages[0])
			break;
		head = compound_head(page);
		if (head != locked && !trylock_page(head))
			break;
		if (head->mapping != mapping || !PageSwapBacked(head)) {
			if (head != locked)
				unlock_page(head);
			err = -EOPNOTSUPP;
			break;
		}
		locked = head;
		get_page(page);
		pages[n++] = page;
		set_mark(page, head);
		/* The mappings, which may be dirty, are about to go. */
		make_page_dirty(head, *ptep);
	}
	pte_unmap_unlock(start_pte, ptl);
	return n ? n : err;
}

/*
 * Huge mappings in the range give way to nothing: a file has its pages without
 * them. This sends events of its own.
 */
static void split_vma_range(struct vm_area_struct *vma, unsigned long start,
			    unsigned long end)
{
	pmd_t *pmd;

	for (; start < end; start = pmd_addr_end(start, end)) {
		device_exclusive_split(vma, start);
		/* Let who is unmapping it finish, and lower the map count. */
		pmd = mm_find_any_pmd(vma->vm_mm, start);
		if (pmd)
			spin_unlock(pmd_lock(vma->vm_mm, pmd));
	}
}

/* The page that is mapped, or would be if no device had it */
static struct page *mapped_page(struct vm_area_struct *vma, unsigned long addr,
				pte_t pte)
{
	return pte_present(pte) ? vm_normal_page(vma, addr, pte) :
				  exclusive_page(pte);
}

static void make_shared_pmd(struct shared_walk *walk,
			    struct vm_area_struct *vma, pmd_t *pmd,
			    unsigned long start, unsigned long end)
{
	unsigned long i = linear_page_index(vma, start) - walk->first;
	unsigned long addr = start;
	pte_t *start_pte, *ptep;
	bool flush = false;
	spinlock_t *ptl;

	flush_cache_range(vma, start, end);
	start_pte = pte_offset_map_lock(vma->vm_mm, pmd, start, &ptl);
	arch_enter_lazy_mmu_mode();
	for (ptep = start_pte; addr < end; ptep++, addr += PAGE_SIZE, i++) {
		struct page *page = shared_page(walk, i);

		if (mapped_page(vma, addr, *ptep) != page)
			continue;
		if (pte_present(*ptep)) {
			make_page_dirty(compound_head(page), *ptep);
			make_entry(vma, addr, ptep, page);
			flush = true;
		} else {
			take_over_entry(vma, addr, ptep);
			walk->movable = true;
		}
		walk->made++;
	}
	arch_leave_lazy_mmu_mode();
	if (flush)
		flush_tlb_range(vma, start, end);
	pte_unmap_unlock(start_pte, ptl);
}

/*
 * May a CPU still write to a page that has been unmapped from @mm? Who zaps a huge
 * mapping leaves the flush for later, and so does reclaim.
 */
static bool is_flush_pending(struct mm_struct *mm)
{
#ifdef CONFIG_ARCH_WANT_BATCHED_UNMAP_TLB_FLUSH
	/* Only looked at: others may set it at the same time. */
	if (data_race(mm->tlb_flush_batched))
		return true;
#endif
	return mm_tlb_flush_pending(mm);
}

/*
 * May somebody be moving or copying mappings of this mm? Who does has its
 * mmap_lock, for writing, from before the VMA that they go to is in the tree. That
 * takes i_mmap_rwsem, so if nobody is at it now, nobody is before it is dropped.
 */
static bool is_mm_busy(struct shared_walk *walk, struct mm_struct *mm)
{
	/* The caller has this one. */
	if (mm == walk->mm)
		return false;
	if (!mmap_read_trylock(mm))
		return true;
	mmap_read_unlock(mm);
	return false;
}

static void make_shared_vma(struct shared_walk *walk,
			    struct vm_area_struct *vma, unsigned long start,
			    unsigned long end)
{
	struct mmu_notifier_range range;

	walk->busy |= is_mm_busy(walk, vma->vm_mm);
	/* fork() copies page tables of these. */
	walk->movable |= !!vma->anon_vma;
	if (walk->compound)
		split_vma_range(vma, start, end);
	mmu_notifier_range_init_owner(&range, MMU_NOTIFY_EXCLUSIVE, 0, vma,
				      vma->vm_mm, start, end, walk->owner);
	mmu_notifier_invalidate_range_start(&range);
	walk_pmds(walk, vma, start, end, make_shared_pmd);
	/* The locks of the page tables have been taken by now. */
	if (is_flush_pending(vma->vm_mm))
		flush_tlb_mm(vma->vm_mm);
	mmu_notifier_invalidate_range_end(&range);
}

static long count_mappings(struct page **pages, int npages)
{
	long n = 0;
	int i;

	for (i = 0; i < npages; i++)
		n += page_mapcount(pages[i]);
	return n;
}

static void count_entries_pmd(struct shared_walk *walk,
			      struct vm_area_struct *vma, pmd_t *pmd,
			      unsigned long addr, unsigned long end)
{
	unsigned long i = linear_page_index(vma, addr) - walk->first;
	pte_t *start_pte, *ptep;
	spinlock_t *ptl;

	start_pte = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	for (ptep = start_pte; addr < end; ptep++, addr += PAGE_SIZE, i++)
		if (exclusive_page(*ptep) == shared_page(walk, i))
			walk->made++;
	pte_unmap_unlock(start_pte, ptl);
}

static void count_entries_vma(struct shared_walk *walk,
			      struct vm_area_struct *vma, unsigned long start,
			      unsigned long end)
{
	walk->busy |= is_mm_busy(walk, vma->vm_mm);
	walk_pmds(walk, vma, start, end, count_entries_pmd);
}

/*
 * As walk_vmas(), in the other direction: what mremap() moves onwards meanwhile
 * may be missed, and is not met twice.
 */
static void walk_vmas_back(struct shared_walk *walk, shared_vma_fn fn)
{
	struct vm_area_struct *vma;
	struct rb_node *node;

	for (node = rb_last(&walk->mapping->i_mmap.rb_root); node;
	     node = rb_prev(node)) {
		vma = rb_entry(node, struct vm_area_struct, shared.rb);
		if (vma->vm_pgoff <= walk->last &&
		    vma->vm_pgoff + vma_pages(vma) > walk->first)
			walk_vma(walk, vma, fn);
		else
			cond_resched();
	}
}

/* How often to count entries of which some go meanwhile */
#define COUNT_ROUNDS	4

/*
 * Are all mappings of the pages entries? No mapping is replaced any more, and as
 * the pages are locked and fork() copies no entry, none comes to those that can be
 * found. So what is found can only be too little.
 *
 * Returns as make_all_mappings().
 */
static int count_all_entries(struct shared_walk *walk, int npages)
{
	int round;

	for (round = 0; round < COUNT_ROUNDS; round++) {
		long before = count_mappings(walk->pages, npages);

		if (fatal_signal_pending(current))
			return -EINTR;
		walk->made = 0;
		walk->busy = false;
		i_mmap_lock_read(walk->mapping);
		walk_vmas_back(walk, count_entries_vma);
		i_mmap_unlock_read(walk->mapping);
		if (walk->made == before)
			return 0;
		if (!walk->busy &&
		    walk->made < count_mappings(walk->pages, npages))
			return -EOPNOTSUPP;
	}
	return -EAGAIN;
}

/*
 * Replace all mappings of the pages, which are locked and marked. Was that all? A
 * driver may have put a page where the map of the file does not lead to.
 *
 * One walk replaces all that it does lead to. It meets each mapping, unless that
 * goes before, so if there are more mappings than it has met in the end, there
 * are others. If it has met as many as there were in the beginning there are none;
 * but it may meet an entry twice that mremap() moves onwards, or a copy that
 * fork() has just made of a mapping not met yet. If that is possible, or if
 * mappings have gone meanwhile, it takes a count. That nobody can move or copy
 * mappings is easily seen as a rule, so there is one walk as a rule.
 *
 * Mappings may be anybody's, who can have them go for as long as he likes. So the
 * walks are limited.
 *
 * Returns 0, -EOPNOTSUPP if there are others, -EAGAIN if that cannot be told,
 * -EINTR.
 */
static int make_all_mappings(struct shared_walk *walk, int npages)
{
	long before = count_mappings(walk->pages, npages);

	i_mmap_lock_read(walk->mapping);
	walk_vmas(walk, make_shared_vma);
	i_mmap_unlock_read(walk->mapping);
	if (walk->made < count_mappings(walk->pages, npages))
		return -EOPNOTSUPP;
	if (walk->made == before && !(walk->busy && walk->movable))
		return 0;
	return count_all_entries(walk, npages);
}

/* Neighbours of the first page in a huge page share its lock. */
static void release_all_but_first(struct page **pages, int npages)
{
	struct page *head = compound_head(pages[0]);
	int i;

	for (i = 1; i < npages && compound_head(pages[i]) == head; i++)
		put_page(pages[i]);
	device_exclusive_put_pages(pages + i, npages - i);
}

/*
 * Make leading pages of the range exclusive whoever maps them, pages[0] being
 * locked already. It stays so whatever comes of it. Returns the number of pages,
 * with a reference each; 0 if the first is not mapped here any more; -EOPNOTSUPP,
 * -EAGAIN or -EINTR.
 *
 * If not all pages can be had the first one is looked at alone: others may be to
 * blame. Of those, what has been replaced stays replaced, because to give it back
 * would tell the caller, too, and send it round each time. That hurts nobody: no
 * device gets permission by these entries, other owners have been told, and where
 * the caller had permission from before, all mappings had been replaced by then.
 */
int device_exclusive_make_shared(struct vm_area_struct *vma, pmd_t *pmd,
				 unsigned long start, unsigned long end,
				 struct page **pages, void *owner)
{
	struct page *first = pages[0];
	struct shared_walk walk = {
		.mapping = vma->vm_file->f_mapping,
		.first = linear_page_index(vma, start),
		.pages = pages,
		.owner = owner,
		.mm = vma->vm_mm,
	};
	int i, n, err;

	n = mark_shared(vma, pmd, start, end, pages);
	if (n <= 0)
		return n;
	walk.last = walk.first + n - 1;
	for (i = 0; i < n; i++)
		walk.compound |= PageCompound(pages[i]);

	err = make_all_mappings(&walk, n);
	if (err && n > 1) {
		release_all_but_first(pages, n);
		n = 1;
		walk.last = walk.first;
		err = count_all_entries(&walk, n);
	}
	if (!err)
		return n;
	if (err == -EOPNOTSUPP)
		device_exclusive_break(first, NULL);
	put_page(first);
	return err;
}
