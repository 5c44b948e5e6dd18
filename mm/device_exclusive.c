// SPDX-License-Identifier: GPL-2.0
/*
 * Device-exclusive memory
 *
 * A device-exclusive entry takes the place of a CPU mapping while a device does
 * atomic operations on the page. It keeps the page reference, the map count and
 * the rss of the mapping, so that nothing but the CPU loses sight of the page.
 *
 * An entry changes under the page-table lock. The page lock serialises making a
 * page exclusive with ending that: a driver is handed its pages locked, and
 * whoever gives the CPU access again holds the lock for that. What takes an
 * entry away for good (unmap, migration, zap) gives nobody access and does
 * without.
 *
 * Lock order: mmap_lock, page lock, i_mmap_rwsem, notifier callbacks (and the
 * driver locks that they take), page-table lock.
 */
#include <linux/debugfs.h>
#include <linux/export.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/page_idle.h>
#include <linux/pagemap.h>
#include <linux/pagewalk.h>
#include <linux/rmap.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_k.h>

#define CREATE_TRACE_POINTS
#include <trace/events/device_exclusive.h>

#include <asm/tlbflush.h>

#include "internal.h"

/* Has soft-dirty been cleared since the entry was made with it set? */
static bool soft_dirty_lost(pte_t entry)
{
	return IS_ENABLED(CONFIG_MEM_SOFT_DIRTY) && !pte_swp_soft_dirty(entry);
}

/* The page of a device-exclusive entry; NULL if @pte is not one */
static inline struct page *exclusive_page(pte_t pte)
{
	swp_entry_t entry;

	if (!is_swap_pte(pte))
		return NULL;
	entry = pte_to_swp_entry(pte);
	return is_device_exclusive_entry(entry) ?
	       pfn_swap_entry_to_page(entry) : NULL;
}

/*
 * May the CPU write to @page where @vma, which is anonymous if @anon, maps it? A
 * private mapping shows a page of the page cache until the first write, which
 * gets a copy.
 */
static inline bool may_write(struct vm_area_struct *vma, struct page *page,
			     bool anon)
{
	if (!(vma->vm_flags & VM_WRITE))
		return false;
	return anon || vma->vm_flags & VM_SHARED || PageAnon(page);
}

static inline pte_t present_pte(struct vm_area_struct *vma, struct page *page,
				pte_t entry, bool writable, bool anon)
{
	pte_t pte = pte_mkold(mk_pte(page, READ_ONCE(vma->vm_page_prot)));

	if (pte_swp_soft_dirty(entry))
		pte = pte_mksoft_dirty(pte);
	/* The bit means nothing to a VMA whose handler has gone. */
	if (pte_swp_uffd_wp(entry) && userfaultfd_wp(vma))
		return pte_wrprotect(pte_mkuffd_wp(pte));

	/*
	 * Dirty, because the device may have written. A mapping that is not
	 * writable stays clean: the page itself is dirty, and a dirty read-only
	 * PTE tells others that copy-on-write has been done.
	 */
	if (writable && may_write(vma, page, anon))
		pte = pte_mkwrite(pte_mkdirty(pte));
	return pte;
}

/**
 * device_exclusive_to_present() - the mapping that an entry stands for
 * @vma: the VMA the entry is in
 * @entry: a device-exclusive PTE
 *
 * For code that replaces the entry by something made from a present PTE, or by
 * that PTE itself. What may be written is decided here and now, from the VMA:
 * anonymous memory has no other mapping, and shared memory is shared, so nothing
 * speaks against writing but the VMA, userfaultfd, and soft-dirty tracking that
 * waits to see the next write.
 *
 * Context: The page-table lock is held.
 * Return: The present PTE, old; dirty only where it is writable.
 */
pte_t device_exclusive_to_present(struct vm_area_struct *vma, pte_t entry)
{
	return present_pte(vma, exclusive_page(entry), entry,
			   !soft_dirty_lost(entry), vma_is_anonymous(vma));
}

static void set_present_pte(struct vm_area_struct *vma, unsigned long addr,
			    pte_t *ptep, pte_t pte)
{
	/* The entry was not present: no TLB holds anything for it. */
	set_pte_at(vma->vm_mm, addr, ptep, pte);
	update_mmu_cache(vma, addr, ptep);
}

/*
 * The mapping of @page is back. If a driver had it locked when the VMA was locked,
 * it has not been mlocked yet: do as follow_page(). @locked is what the caller has
 * locked. The page-table lock is held, so munlock() finds the page after us, should
 * it be about to clear the flag of the VMA.
 */
static void mlock_restored(struct vm_area_struct *vma, struct page *page,
			   struct page *locked)
{
	/* Parts of a huge page are never mlocked. */
	if (!(vma->vm_flags & VM_LOCKED) || PageTransCompound(page))
		return;
	if (page != locked && !trylock_page(page))
		return;
	mlock_vma_page(page);
	if (page != locked)
		unlock_page(page);
}

/*
 * Is a page with an entry mapped nowhere else? Anonymous memory is not. What is
 * mapped elsewhere, or is part of a huge page of a file, needs break_page(). The
 * page is locked, so it does not get another mapping meanwhile.
 */
static inline bool is_alone(struct page *page)
{
	return PageAnon(page) ||
	       (!PageCompound(page) && page_mapcount(page) == 1);
}

/* The only mapping of @page is about to come back. Both locks are held. */
static inline bool end_alone(struct page *page)
{
	if (!is_alone(page))
		return false;
	if (PageDeviceExclusive(page))
		ClearPageDeviceExclusive(page);
	return true;
}

/**
 * device_exclusive_is_pinned() - does the page of an entry have to stay?
 * @vma: the VMA the entry is in
 * @page: the page of the entry
 *
 * A page that may be pinned is that of its pin. Mapped read-only, it would be
 * copied by the next write after the VMA has become writable, and the process
 * would lose it. Nobody can pin a page through an entry, so one that is not pinned
 * stays so.
 *
 * Context: The page-table lock is held.
 */
bool device_exclusive_is_pinned(struct vm_area_struct *vma, struct page *page)
{
	return atomic_read(&vma->vm_mm->has_pinned) && PageAnon(page) &&
	       page_maybe_dma_pinned(page);
}

/*
 * Put back the mapping of @page if that is the only one and nobody has the page
 * locked; @locked is a huge page that the caller has locked itself, or NULL. @anon
 * says whether the VMA is anonymous.
 */
static __always_inline bool
try_restore(struct vm_area_struct *vma, unsigned long addr, pte_t *ptep,
	    struct page *page, struct page *locked, bool anon)
{
	bool got = trylock_page(page);
	bool alone;

	if (!got && compound_head(page) != locked)
		return false;
	alone = anon || end_alone(page);
	if (alone)
		set_present_pte(vma, addr, ptep,
				present_pte(vma, page, *ptep,
					    !soft_dirty_lost(*ptep), anon));
	if (got)
		unlock_page(page);
	return alone;
}

/* Would it, for a page that should not without a touch? */
static bool comes_back_read_only(struct vm_area_struct *vma, pte_t entry,
				 struct page *page)
{
	return device_exclusive_is_pinned(vma, page) &&
	       !pte_write(device_exclusive_to_present(vma, entry));
}

/**
 * device_exclusive_restore() - put a mapping back without sleeping
 * @vma: the VMA the entry is in
 * @addr: the address it is at
 * @ptep: the device-exclusive PTE, mapped
 *
 * For page-table walkers that need the present mapping, and whose own notifier
 * range has taken the device's permission already.
 *
 * Context: The page-table lock is held. Only tries the page lock.
 * Return: NULL when the mapping is back. Otherwise the page, with a reference for
 * the caller. If it is anonymous, somebody has it locked: drop the page-table
 * lock, call device_exclusive_wait(), look again. If not, it may be mapped
 * elsewhere, and has to be left. So has an anonymous one that may be pinned.
 */
struct page *device_exclusive_restore(struct vm_area_struct *vma,
				      unsigned long addr, pte_t *ptep)
{
	struct page *page = exclusive_page(*ptep);

	if (comes_back_read_only(vma, *ptep, page) ||
	    !try_restore(vma, addr, ptep, page, NULL, vma_is_anonymous(vma))) {
		get_page(page);
		return page;
	}
	mlock_restored(vma, page, NULL);
	/* The caller goes on with what it reads back. */
	arch_flush_lazy_mmu_mode();
	count_vm_event(DEVICE_EXCLUSIVE_RESTORE);
	trace_device_exclusive_restore(vma->vm_mm, addr, 1);
	return NULL;
}

/**
 * device_exclusive_wait() - wait for a page that could not be restored
 * @page: what device_exclusive_restore() returned; the reference is dropped
 *
 * Context: May sleep, but a driver holds a page for a short time and must not
 * wait for mmap_lock meanwhile: it is safe to hold that, even for writing.
 */
void device_exclusive_wait(struct page *page)
{
	wait_on_page_locked(page);
	put_page(page);
}

/**
 * device_exclusive_is_file() - does the entry map a page of the page cache?
 * @entry: a device-exclusive PTE
 *
 * Context: The page-table lock is held.
 */
bool device_exclusive_is_file(pte_t entry)
{
	return !PageAnon(exclusive_page(entry));
}

/* Returns 1 at the first entry if walk->private, or restores all it can. */
static int restore_pmd_entry(pmd_t *pmd, unsigned long addr, unsigned long end,
			     struct mm_walk *walk)
{
	bool *only_look = walk->private;
	pte_t *start_pte, *ptep;
	struct page *busy;
	spinlock_t *ptl;
	int found = 0;

	if (pmd_trans_unstable(pmd))
		return 0;

	start_pte = pte_offset_map_lock(walk->mm, pmd, addr, &ptl);
	for (ptep = start_pte; addr < end; ptep++, addr += PAGE_SIZE) {
		if (!is_device_exclusive_pte(*ptep))
			continue;
		found = *only_look;
		if (found)
			break;
		busy = device_exclusive_restore(walk->vma, addr, ptep);
		if (busy)
			put_page(busy);
	}
	pte_unmap_unlock(start_pte, ptl);
	return found;
}

static const struct mm_walk_ops restore_walk_ops = {
	.pmd_entry	= restore_pmd_entry,
};

/**
 * device_exclusive_restore_range() - put the mappings of a range back
 * @vma: the VMA that the range is in
 * @start: first address
 * @end: address behind the last page
 *
 * For code that takes mappings under a notifier range which the device's driver
 * may ignore. Tells every driver in a range of its own, and only if there is an
 * entry. Pages that a driver has locked or that are mapped elsewhere are left,
 * and new entries can appear as soon as this returns.
 *
 * Context: mmap_lock is held. No page lock is held and no notifier range is open.
 * May sleep.
 */
void device_exclusive_restore_range(struct vm_area_struct *vma,
				    unsigned long start, unsigned long end)
{
	struct mmu_notifier_range range;
	bool only_look = true;

	if (!walk_page_range(vma->vm_mm, start, end, &restore_walk_ops,
			     &only_look))
		return;

	only_look = false;
	mmu_notifier_range_init(&range, MMU_NOTIFY_EXCLUSIVE, 0, vma,
				vma->vm_mm, start, end);
	mmu_notifier_invalidate_range_start(&range);
	walk_page_range(vma->vm_mm, start, end, &restore_walk_ops, &only_look);
	mmu_notifier_invalidate_range_end(&range);
}

/*
 * The page of the entry that @vmf is about, with a reference. NULL: the entry
 * has changed. While it has not, the reference that it holds keeps the page.
 */
static struct page *get_fault_page(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct page *page = NULL;

	vmf->pte = pte_offset_map_lock(vma->vm_mm, vmf->pmd, vmf->address,
				       &vmf->ptl);
	if (pte_same(*vmf->pte, vmf->orig_pte)) {
		page = exclusive_page(*vmf->pte);
		get_page(page);
	}
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	return page;
}

/*
 * A task that reads memory back goes through it in one direction as often as
 * not, and would take a fault for each page. So current->device_exclusive_scan
 * remembers what its last fault has restored, a window of pages: the lowest
 * address, their number, and in which direction a scan may go on from there. A
 * fault next to a window of which all pages have been used since goes on with
 * the scan, and doubles the window.
 *
 * Nobody else takes care of it: a new thread begins with that of its parent,
 * exec keeps it, and a fault for another address space counts as one of this.
 * So it is a hint, and can only be wrong. What was used and what is restored is
 * looked at under the page-table lock, in the mm of the fault.
 */
#define SCAN_NPAGES	(BIT(10) - 1)
#define SCAN_UP		BIT(10)
#define SCAN_DOWN	BIT(11)
/* after a fault that is the first of a scan, if it is one at all */
#define SCAN_BEGIN	(SCAN_UP | SCAN_DOWN)

/* The most pages that one fault restores; 1 is the faulting one alone. */
#define MAX_WINDOW	512
unsigned int device_exclusive_window __read_mostly = 128;

/* What a fault restores: @npages from the fault on, upwards or downwards */
struct window {
	unsigned long where;
	int step;
	int npages;
};

/* Have all pages of the range been used since they were restored? */
static bool used_since(struct vm_area_struct *vma, unsigned long start,
		       unsigned long end)
{
	pte_t *start_pte, *ptep;
	unsigned long addr;
	spinlock_t *ptl;
	pmd_t *pmd;

	if (start < vma->vm_start || end > pmd_addr_end(start, vma->vm_end))
		return false;
	pmd = mm_find_pmd(vma->vm_mm, start);
	if (!pmd)
		return false;

	start_pte = pte_offset_map_lock(vma->vm_mm, pmd, start, &ptl);
	for (ptep = start_pte, addr = start; addr < end; addr += PAGE_SIZE) {
		pte_t pte = *ptep++;

		if (!pte_present(pte) || !pte_young(pte))
			break;
	}
	pte_unmap_unlock(start_pte, ptl);
	return addr == end;
}

/*
 * How many pages to restore if this fault goes on with what the last one of this
 * task restored. 1, and SCAN_BEGIN, if it does not.
 */
static __always_inline void
find_scan(struct vm_fault *vmf, struct window *window)
{
	unsigned long scan = current->device_exclusive_scan;
	unsigned long start = scan & PAGE_MASK;
	int npages = scan & SCAN_NPAGES;
	unsigned long end = start + npages * PAGE_SIZE;

	window->where = SCAN_BEGIN;
	window->step = 1;
	window->npages = 1;
	if (scan & SCAN_UP && vmf->address == end) {
		scan &= ~SCAN_DOWN;
	} else if (scan & SCAN_DOWN && vmf->address == start - PAGE_SIZE) {
		window->step = -1;
		scan &= ~SCAN_UP;
	} else {
		return;
	}
	if (!used_since(vmf->vma, start, end))
		return;
	/* Two faults side by side are not enough of a scan. */
	if ((current->device_exclusive_scan & SCAN_BEGIN) != SCAN_BEGIN)
		window->npages = min_t(int, 2 * npages,
				       READ_ONCE(device_exclusive_window));
	window->where = scan & SCAN_BEGIN;
}

/*
 * Of the next pages of the scan, those in the same VMA and under the same
 * page-table page, up to the first that is not exclusive.
 */
static __always_inline int
look_ahead(struct vm_fault *vmf, int step, int npages)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long addr = vmf->address, room;
	int n;

	if (step > 0)
		room = pmd_addr_end(addr, vma->vm_end) - addr;
	else
		room = addr + PAGE_SIZE - max(addr & PMD_MASK, vma->vm_start);
	npages = min_t(unsigned long, npages, room >> PAGE_SHIFT);

	vmf->pte = pte_offset_map_lock(vma->vm_mm, vmf->pmd, addr, &vmf->ptl);
	for (n = 1; n < npages; n++)
		if (!is_device_exclusive_pte(vmf->pte[n * step]))
			break;
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	return n;
}

/* The lowest address of the window */
static unsigned long window_start(struct vm_fault *vmf, struct window *window)
{
	if (window->step > 0)
		return vmf->address;
	return vmf->address - (window->npages - 1) * PAGE_SIZE;
}

/* Of what this fault has restored, @locked is locked. Page-table lock held. */
static noinline void mlock_window(struct vm_fault *vmf, int step, int npages,
				  struct page *locked)
{
	int i;

	for (i = 0; i < npages; i++)
		mlock_restored(vmf->vma, pte_page(vmf->pte[i * step]), locked);
}

static __always_inline int
restore_entries(struct vm_fault *vmf, struct page *page, struct window *window,
		bool anon)
{
	struct page *locked = compound_head(page);
	struct vm_area_struct *vma = vmf->vma;
	unsigned long addr = vmf->address;
	bool writable;
	pte_t *ptep;
	int n = 0;

	vmf->pte = pte_offset_map_lock(vma->vm_mm, vmf->pmd, addr, &vmf->ptl);
	ptep = vmf->pte;
	if (!pte_same(*ptep, vmf->orig_pte) || !(anon || end_alone(page)))
		goto unlock;

	writable = vmf->flags & FAULT_FLAG_WRITE || !soft_dirty_lost(*ptep);
	set_present_pte(vma, addr, ptep,
			pte_mkyoung(present_pte(vma, page, *ptep, writable,
						anon)));
	while (++n < window->npages) {
		ptep += window->step;
		addr += window->step * PAGE_SIZE;
		page = exclusive_page(*ptep);
		if (!page || !try_restore(vma, addr, ptep, page, locked, anon))
			break;
	}
	if (unlikely(vma->vm_flags & VM_LOCKED))
		mlock_window(vmf, window->step, n, locked);
unlock:
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	return n;
}

/*
 * Restore the entry of the fault, and as many neighbours as have been announced,
 * up to the first that is not to be had. @page is that of the fault, and locked.
 * Returns how many are back; 0 if the entry of the fault has changed.
 */
static int restore_window(struct vm_fault *vmf, struct page *page,
			  struct window *window)
{
	/* In two copies: anonymous memory need not pay for what else there is. */
	if (vma_is_anonymous(vmf->vma))
		return restore_entries(vmf, page, window, true);
	return restore_entries(vmf, page, window, false);
}

/*
 * Memory that is shared
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
 *    exclusive, and gets none without break_page();
 *  - a device may have permission only through an address at which there is an
 *    entry: what takes an entry away tells the device, and so does break_page(),
 *    in every mm, before the first CPU gets a mapping.
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

/* Pages of a file, side by side and locked, and what is done to their mappings */
struct shared_walk {
	struct address_space *mapping;
	pgoff_t first, last;
	/* The pages, or else the head of the compound page that they are */
	struct page **pages;
	struct page *head;
	/* break_page(): the fault that wants it, if any */
	struct vm_fault *vmf;
	/* make_shared(): for whom and in which mm, and is any of them huge */
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

static void tell_vma(struct shared_walk *walk, struct vm_area_struct *vma,
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
	mlock_restored(vma, page, page);
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
	walk_vmas(walk, tell_vma);
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

/*
 * Break a page of the page cache, and all of a compound one. @vmf is the fault
 * that wants the page, or NULL.
 */
static void break_page(struct page *page, struct vm_fault *vmf)
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

/**
 * device_exclusive_break() - take a page of the page cache from all devices
 * @page: a page that PageDeviceExclusive() is true for
 *
 * For whoever is about to move the page.
 *
 * Context: The page is locked. No notifier range is open, and i_mmap_rwsem is not
 * held. May sleep.
 */
void device_exclusive_break(struct page *page)
{
	break_page(page, NULL);
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
		break_page(page, NULL);
	} else if (!is_any_exclusive(head)) {
		clear_all_marks(head);
	} else {
		/* What has been zapped is about to be mapped for the CPU. */
		clear_mark(page);
		if (pte_alloc(vmf->vma->vm_mm, vmf->pmd))
			break_page(page, NULL);
	}
}

/*
 * Could there be pages that may be pinned and would come back read-only? To look
 * at each would cost more than to restore just the one that has been touched.
 */
static bool may_be_pinned_read_only(struct vm_area_struct *vma)
{
	return atomic_read(&vma->vm_mm->has_pinned) &&
	       (userfaultfd_wp(vma) || !(vma->vm_flags & VM_WRITE));
}

/* The page of the fault, locked, has no other mapping. */
static void fault_alone(struct vm_fault *vmf, struct page *page)
{
	struct vm_area_struct *vma = vmf->vma;
	struct mmu_notifier_range range;
	struct window window;
	unsigned long start;

	find_scan(vmf, &window);
	if (may_be_pinned_read_only(vma))
		window.npages = 1;
	if (window.npages > 1)
		window.npages = look_ahead(vmf, window.step, window.npages);
	start = window_start(vmf, &window);
	mmu_notifier_range_init(&range, MMU_NOTIFY_EXCLUSIVE, 0, vma,
				vma->vm_mm, start,
				start + window.npages * PAGE_SIZE);
	mmu_notifier_invalidate_range_start(&range);
	window.npages = restore_window(vmf, page, &window);
	mmu_notifier_invalidate_range_end(&range);

	BUILD_BUG_ON(MAX_WINDOW > SCAN_NPAGES || SCAN_DOWN >= PAGE_SIZE);
	if (window.npages) {
		start = window_start(vmf, &window);
		current->device_exclusive_scan = start | window.where |
						 window.npages;
		count_vm_event(DEVICE_EXCLUSIVE_FAULT);
		count_vm_events(DEVICE_EXCLUSIVE_AHEAD, window.npages - 1);
		trace_device_exclusive_break(vma->vm_mm, start, window.npages);
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
	int i, n;

	vmf->pte = pte_offset_map_lock(vmf->vma->vm_mm, vmf->pmd, vmf->address,
				       &vmf->ptl);
	for (n = 1; n < window->npages; n++) {
		i = n * window->step;
		page = exclusive_page(vmf->pte[i]);
		if (!page || PageAnon(page) || PageCompound(page) ||
		    !trylock_page(page))
			break;
		pages[i] = page;
	}
	pte_unmap_unlock(vmf->pte, vmf->ptl);
	return n;
}

/*
 * The page of the fault, locked, has other mappings. What a scan wants next comes
 * back in the same two walks. It is still in the file: what leaves that has lost
 * the mark, and the entry.
 */
static noinline void fault_shared(struct vm_fault *vmf, struct page *page)
{
	struct page *pages[SHARED_WINDOW], **lowest = pages;
	struct shared_walk walk = {
		.mapping = page->mapping,
		.vmf = vmf,
	};
	struct window window;
	unsigned long start;
	int i;

	find_scan(vmf, &window);
	window.npages = min(window.npages, SHARED_WINDOW);
	if (window.step < 0)
		lowest += SHARED_WINDOW - 1;
	lowest[0] = page;
	if (window.npages > 1) {
		window.npages = look_ahead(vmf, window.step, window.npages);
		window.npages = lock_ahead(vmf, &window, lowest);
	}
	if (window.step < 0)
		lowest -= window.npages - 1;

	start = window_start(vmf, &window);
	walk.pages = lowest;
	walk.first = linear_page_index(vmf->vma, start);
	walk.last = walk.first + window.npages - 1;
	break_walk(&walk);
	for (i = 0; i < window.npages; i++) {
		ClearPageDeviceExclusive(lowest[i]);
		if (lowest[i] != page)
			unlock_page(lowest[i]);
	}
	current->device_exclusive_scan = start | window.where | window.npages;
}

/* The page, which is locked and in the file, may have other mappings. */
static void give_back(struct vm_fault *vmf, struct page *page)
{
	if (PageCompound(page))
		break_page(page, vmf);
	else
		fault_shared(vmf, page);
}

/*
 * Is the entry of the fault still there? If so it has to go, whatever the mark
 * says, or the fault would come again and again.
 */
static bool is_unchanged(struct vm_fault *vmf)
{
	struct page *page = get_fault_page(vmf);

	if (page)
		put_page(page);
	return page;
}

/**
 * device_exclusive_fault() - the CPU touches a page that a device has
 * @vmf: the fault; orig_pte is a device-exclusive entry
 *
 * Takes the page back: waits for a driver that has it locked, tells every
 * driver that mirrors the mm, and restores the mapping. A write fault finds it
 * writable even if soft-dirty tracking had kept it read-only, since this is the
 * write that was to be seen.
 *
 * If the fault goes on with a scan of exclusive memory, its next pages come back
 * with it, old, as long as they are in the same VMA and under the same page-table
 * page, and nobody has them locked.
 *
 * A page that has other mappings comes back wherever it is mapped, and so does
 * the whole of a huge page of a file. A scan gives back fewer of these at a time.
 *
 * Context: mmap_lock is held for reading, and dropped as by
 * lock_page_or_retry() when VM_FAULT_RETRY is returned. No page-table lock.
 * Return: 0, also when the entry has changed meanwhile and the access has to be
 * tried again; VM_FAULT_RETRY.
 */
vm_fault_t device_exclusive_fault(struct vm_fault *vmf)
{
	struct page *page;

	page = get_fault_page(vmf);
	if (!page)
		return 0;
	if (!lock_page_or_retry(page, vmf->vma->vm_mm, vmf->flags)) {
		put_page(page);
		return VM_FAULT_RETRY;
	}
	if (is_alone(page))
		fault_alone(vmf, page);
	else if (PageDeviceExclusive(page) || is_unchanged(vmf))
		give_back(vmf, page);
	unlock_page(page);
	put_page(page);
	return 0;
}

#ifdef CONFIG_DEBUG_FS
static int window_get(void *data, u64 *val)
{
	*val = device_exclusive_window;
	return 0;
}

static int window_set(void *data, u64 val)
{
	if (val < 1 || val > MAX_WINDOW)
		return -EINVAL;
	WRITE_ONCE(device_exclusive_window, val);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(window_fops, window_get, window_set, "%llu\n");

static int __init window_debugfs(void)
{
	debugfs_create_file_unsafe("device_exclusive_window", 0644, NULL, NULL,
				   &window_fops);
	return 0;
}
late_initcall(window_debugfs);
#endif

/* Can this VMA have memory that may become exclusive? */
static int check_vma(struct vm_area_struct *vma)
{
	if (is_vm_hugetlb_page(vma) || vma_is_dax(vma) ||
	    vma->vm_flags & (VM_IO | VM_PFNMAP | VM_MIXEDMAP))
		return -EOPNOTSUPP;
	/*
	 * A write fault on a shared mapping would start writeback, unless the
	 * file is one of tmpfs. A private mapping of a file is as good as any:
	 * what can be written there is anonymous.
	 */
	if (vma->vm_flags & VM_MAYSHARE &&
	    !shmem_mapping(vma->vm_file->f_mapping))
		return -EOPNOTSUPP;
	if (!(vma->vm_flags & VM_WRITE))
		return -EFAULT;
	return 0;
}

/*
 * Does @pte let the CPU write, or would it if no device had the page? The VMA has
 * VM_WRITE, and is no private mapping of a file. Page-table lock held.
 */
static inline bool is_writable(pte_t pte)
{
	if (pte_present(pte))
		return pte_write(pte) && !pte_protnone(pte);
	return is_device_exclusive_pte(pte) && !pte_swp_uffd_wp(pte);
}

/* There it shows what is in the file until it is written to. */
static inline bool is_private_file(struct vm_area_struct *vma)
{
	return !vma_is_anonymous(vma) && !(vma->vm_flags & VM_SHARED);
}

static bool shows_file(pte_t pte)
{
	struct page *page = exclusive_page(pte);

	return page && !PageAnon(page);
}

/*
 * The page of a PTE that is_writable(). Page-table lock held. The VMA is one that
 * check_vma() accepts: what is writable there is a normal page.
 */
static inline struct page *writable_page(pte_t pte)
{
	return pte_present(pte) ? pte_page(pte) : exclusive_page(pte);
}

/* mm_find_pmd() is for those with a page table. */
static pmd_t *find_any_pmd(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;

	if (!pgd_present(*pgd))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	if (!p4d_present(*p4d))
		return NULL;
	pud = pud_offset(p4d, addr);
	return pud_present(*pud) ? pmd_offset(pud, addr) : NULL;
}

/*
 * Have @addr mapped by a PTE if it is mapped at all. The huge page itself stays
 * whole. No notifier range is open, and no page lock is held if the memory is
 * anonymous.
 */
static void split_huge_mapping(struct vm_area_struct *vma, unsigned long addr)
{
	pmd_t *pmd = find_any_pmd(vma->vm_mm, addr);
	pmd_t pmde;

	if (!pmd)
		return;
	pmde = READ_ONCE(*pmd);
	/* Where there is nothing to split, that would still send an event. */
	if (is_swap_pmd(pmde) || pmd_trans_huge(pmde))
		split_huge_pmd_address(vma, addr, false, NULL);
}

/* Nothing is mapped there. What a file has does not go to the handler. */
static bool wants_missing(struct vm_area_struct *vma, unsigned long addr)
{
	if (!userfaultfd_missing(vma))
		return false;
	return vma_is_anonymous(vma) ||
	       !xa_load(&vma->vm_file->f_mapping->i_pages,
			linear_page_index(vma, addr));
}

/*
 * Is only a userfaultfd handler able to provide this page? The PMD is not huge:
 * no VMA that waits for missing pages gets a huge one by a fault.
 */
static bool wants_userfaultfd(struct vm_area_struct *vma, unsigned long addr)
{
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, addr);
	spinlock_t *ptl;
	pte_t *ptep, pte;

	if (!pmd)
		return wants_missing(vma, addr);

	ptep = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	pte = *ptep;
	pte_unmap_unlock(ptep, ptl);

	if (pte_none(pte))
		return wants_missing(vma, addr);
	if (pte_present(pte))
		return userfaultfd_pte_wp(vma, pte);
	return userfaultfd_wp(vma) && pte_swp_uffd_wp(pte);
}

/*
 * A huge page of a file is mapped by a PMD wherever there is no page table, and
 * a split leaves none behind. So put one there before the fault. Should another
 * thread map the huge page first, the next round has to do it.
 */
static int prepare_page_table(struct vm_area_struct *vma, unsigned long addr)
{
	struct mm_struct *mm = vma->vm_mm;
	p4d_t *p4d;
	pud_t *pud;
	pmd_t *pmd;

	p4d = p4d_alloc(mm, pgd_offset(mm, addr), addr);
	if (!p4d)
		return -ENOMEM;
	pud = pud_alloc(mm, p4d, addr);
	if (!pud)
		return -ENOMEM;
	pmd = pmd_alloc(mm, pud, addr);
	if (!pmd || pte_alloc(mm, pmd))
		return -ENOMEM;
	split_huge_mapping(vma, addr);
	return pte_alloc(mm, pmd) ? -ENOMEM : 0;
}

/*
 * Write-fault one page. No page lock is held and no notifier range is open.
 * Returns 0 if it is worth looking at the page again.
 */
static int fault_in_page(struct vm_area_struct *vma, unsigned long addr)
{
	unsigned int flags = FAULT_FLAG_WRITE | FAULT_FLAG_REMOTE;
	vm_fault_t fault;

	if (fatal_signal_pending(current))
		return -EINTR;
	if (vma->vm_flags & VM_SHARED && prepare_page_table(vma, addr))
		return -ENOMEM;

	/*
	 * mmap_lock must be kept, so the fault may not retry. If it turns out
	 * to be one for a userfaultfd handler, it warns about that. Look first;
	 * and should this be too early, NOWAIT keeps both the lock and quiet.
	 * FAULT_FLAG_KILLABLE would drop the lock as well.
	 */
	if (userfaultfd_armed(vma)) {
		split_huge_mapping(vma, addr);
		if (wants_userfaultfd(vma, addr))
			return -EFAULT;
		flags |= FAULT_FLAG_ALLOW_RETRY | FAULT_FLAG_RETRY_NOWAIT;
	}

	fault = handle_mm_fault(vma, addr, flags, NULL);
	/* The page is locked, by swap-in most likely. */
	if (fault & VM_FAULT_RETRY)
		schedule_timeout_killable(1);
	cond_resched();
	return vm_fault_to_errno(fault, 0);
}

/* The first address in the range that needs a write fault; @end if none does */
static unsigned long skip_writable(struct vm_area_struct *vma, pmd_t *pmd,
				   unsigned long addr, unsigned long end)
{
	unsigned long npages = (end - addr) >> PAGE_SHIFT, n;
	spinlock_t *ptl;
	pte_t *ptep;

	ptep = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	for (n = 0; n < npages; n++)
		if (!is_writable(ptep[n]))
			break;
	/* A loop of its own, as the first one counts instructions. */
	if (is_private_file(vma))
		for (npages = n, n = 0; n < npages; n++)
			if (shows_file(ptep[n]))
				break;
	pte_unmap_unlock(ptep, ptl);
	return addr + n * PAGE_SIZE;
}

/*
 * How many faults and rounds of a call may come to nothing. One does if somebody
 * changes the page at that moment, and all may if somebody keeps at it, or if a
 * handler says that all is well and has done nothing.
 */
#define MAKE_TRIES	16

/*
 * Get the pages of the range mapped writable, and by PTEs. @end is moved to where
 * that ends. Faults and the split of a PMD may wait for the lock of any page,
 * which is why all this comes before the first lock is taken. @tries is counted
 * down by faults that come to nothing.
 *
 * Returns 0, or an error if the first page cannot be had.
 */
static int fault_in_range(struct vm_area_struct *vma, unsigned long start,
			  unsigned long *end, int *tries)
{
	unsigned long addr = start, faulted = *end;
	pmd_t *pmd;
	int err;

	for (;;) {
		pmd = mm_find_pmd(vma->vm_mm, addr);
		if (pmd)
			addr = skip_writable(vma, pmd, addr, *end);
		if (addr == *end)
			return 0;

		err = -EAGAIN;
		if (addr == faulted && --*tries <= 0)
			break;
		faulted = addr;
		err = fault_in_page(vma, addr);
		if (err)
			break;
		split_huge_mapping(vma, addr);
	}

	if (addr == start)
		return err;
	*end = addr;
	return 0;
}

/* Unlock the pages and drop their references. */
static void put_pages(struct page **pages, int npages)
{
	struct page *head;
	int i, n;

	for (i = 0; i < npages; i += n) {
		head = compound_head(pages[i]);
		n = 1;
		/*
		 * A huge page was locked once for all neighbours. Until the
		 * last reference is dropped it cannot be split, and they are
		 * known by their head.
		 */
		if (PageHead(head))
			while (i + n < npages &&
			       compound_head(pages[i + n]) == head)
				n++;
		unlock_page(head);
		/* A put_page() for each; it is no device memory. */
		if (page_ref_sub_and_test(head, n))
			__put_page(head);
	}
}

/*
 * Lock and return the first page, the only one whose lock is waited for, and that
 * only if @wait. NULL: it has to be faulted in again.
 */
static struct page *lock_first_page(struct vm_area_struct *vma, pmd_t *pmd,
				    unsigned long addr, bool wait)
{
	struct page *page = NULL;
	spinlock_t *ptl;
	pte_t *ptep;

	ptep = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	if (is_writable(*ptep) && !(is_private_file(vma) && shows_file(*ptep))) {
		page = writable_page(*ptep);
		get_page(page);
	}
	pte_unmap_unlock(ptep, ptl);

	if (!page || trylock_page(page))
		return page;
	if (wait && !lock_page_killable(page))
		return page;
	put_page(page);
	return ERR_PTR(wait ? -EINTR : -EBUSY);
}

/* Is the page, by its flags, dirty and young? If only they can tell. */
static __always_inline bool is_dirty_and_young(unsigned long flags)
{
#ifndef CONFIG_IDLE_PAGE_TRACKING
	return (flags & (BIT(PG_dirty) | BIT(PG_referenced))) ==
	       (BIT(PG_dirty) | BIT(PG_referenced));
#elif defined(CONFIG_64BIT)
	return (flags & (BIT(PG_dirty) | BIT(PG_young) | BIT(PG_idle))) ==
	       (BIT(PG_dirty) | BIT(PG_young));
#else
	return false;
#endif
}

/*
 * The CPU has used the page, and an entry has no young bit to say so. For smaps the
 * parts of a huge page have only the flags of their own, and PG_referenced.
 */
static __always_inline void make_page_young(struct page *head)
{
	if (page_is_idle(head))
		clear_page_idle(head);
	if (!page_is_young(head))
		set_page_young(head);
	if (!IS_ENABLED(CONFIG_IDLE_PAGE_TRACKING) || PageHead(head))
		SetPageReferenced(head);
}

/*
 * No CPU will notice what the device writes, so take the page for written. This
 * is what set_page_dirty() does for anonymous memory and for tmpfs, without the
 * call: nobody but the swap cache wants to know. The page is locked, so it can
 * neither get into that nor out of it. PageDirty() and the like would look for
 * the head again, each of them.
 *
 * @pte is what maps the page, and about to go: it may have a young bit to keep.
 */
static __always_inline void make_page_dirty(struct page *head, pte_t pte)
{
	unsigned long flags = READ_ONCE(head->flags);

	if (is_dirty_and_young(flags))
		return;
	if (pte_present(pte) && pte_young(pte))
		make_page_young(head);
	if (flags & BIT(PG_dirty))
		return;
	if (flags & BIT(PG_swapcache))
		set_page_dirty(head);
	else
		set_bit(PG_dirty, &head->flags);
}

/*
 * Replace the mapping of @page. That is locked and dirty, the page table is locked.
 * Soft-dirty tracking takes it for written, too.
 */
static void make_entry(struct vm_area_struct *vma, unsigned long addr,
		       pte_t *ptep, struct page *page)
{
	swp_entry_t entry = make_device_exclusive_entry(page_to_pfn(page));
	pte_t pte = pte_swp_mksoft_dirty(swp_entry_to_pte(entry));

	ptep_get_and_clear(vma->vm_mm, addr, ptep);
	set_pte_at(vma->vm_mm, addr, ptep, pte);
}

/* The same where there is an entry, whose owner has been told by now. */
static void take_over_entry(struct vm_area_struct *vma, unsigned long addr,
			    pte_t *ptep)
{
	set_pte_at(vma->vm_mm, addr, ptep, pte_swp_mksoft_dirty(*ptep));
}

/*
 * A writable anonymous PTE is the only mapping of its page: whatever maps the
 * page a second time write-protects both. Look all the same, because a device
 * would not hear of a CPU that writes through another mapping.
 */
static bool only_mapping(struct page *page, struct page *head)
{
	unsigned long mapping = (unsigned long)head->mapping;

	/* Anonymous, and not KSM's */
	if ((mapping & PAGE_MAPPING_FLAGS) != PAGE_MAPPING_ANON)
		return false;
	if (PageHead(head) && compound_mapcount(head))
		return false;
	/* Which begins at -1. Without a PMD mapping it is all there is. */
	return !atomic_read(&page->_mapcount);
}

/*
 * Get @page locked by its @head, unless that is *@locked, whose lock is held
 * already. On failure nothing is locked that was not before.
 */
static bool trylock_exclusive(struct page *page, struct page *head,
			      struct page **locked)
{
	/* A trylock_page() that knows the head */
	if (head != *locked && test_and_set_bit_lock(PG_locked, &head->flags))
		return false;
	if (!only_mapping(page, head)) {
		if (head != *locked)
			unlock_page(head);
		return false;
	}
	*locked = head;
	return true;
}

/*
 * Make as many leading pages of the range exclusive as can be locked, @first
 * being locked already. A huge page is locked once for all neighbours that
 * belong to it; if it turns up again later, its lock is found taken and the
 * count ends there.
 *
 * Returns the number of pages; 0 if @first is not mapped here any more, or not
 * only here.
 */
static int make_entries(struct vm_area_struct *vma, pmd_t *pmd,
			unsigned long start, unsigned long end,
			struct page *first, struct page **pages)
{
	long npages = (end - start) >> PAGE_SHIFT, n = 0;
	struct page *locked = compound_head(first);
	bool flush = false;
	spinlock_t *ptl;
	pte_t *ptep;

	flush_cache_range(vma, start, end);
	ptep = pte_offset_map_lock(vma->vm_mm, pmd, start, &ptl);
	/* Which is anonymous. What else others are is seen with the lock. */
	if (!is_writable(*ptep) || writable_page(*ptep) != first)
		goto unlock;

	arch_enter_lazy_mmu_mode();
	for (; n < npages; n++) {
		unsigned long addr = start + n * PAGE_SIZE;
		struct page *page, *head;
		pte_t pte = ptep[n];

		if (!is_writable(pte))
			break;
		page = writable_page(pte);
		head = compound_head(page);
		if (!trylock_exclusive(page, head, &locked))
			break;
		/* A get_page() that knows the head */
		page_ref_inc(head);
		pages[n] = page;
		make_page_dirty(head, pte);
		if (pte_present(pte)) {
			make_entry(vma, addr, ptep + n, page);
			flush = true;
		} else {
			take_over_entry(vma, addr, ptep + n);
		}
	}
	arch_leave_lazy_mmu_mode();
	/* Before anybody can look at the entries, or the device is started. */
	if (flush)
		flush_tlb_range(vma, start, start + n * PAGE_SIZE);
unlock:
	pte_unmap_unlock(ptep, ptl);
	return n;
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
 * @first being locked already. Their mappings stay as they are. Returns the
 * number of pages, with a reference each; 0 if @first is not mapped here any
 * more, or an error if it is not what a file of tmpfs has.
 */
static int mark_shared(struct vm_area_struct *vma, pmd_t *pmd,
		       unsigned long addr, unsigned long end,
		       struct page *first, struct page **pages)
{
	struct address_space *mapping = vma->vm_file->f_mapping;
	struct page *locked = compound_head(first);
	pte_t *start_pte, *ptep;
	int n = 0, err = 0;
	spinlock_t *ptl;

	start_pte = pte_offset_map_lock(vma->vm_mm, pmd, addr, &ptl);
	for (ptep = start_pte; addr < end; ptep++, addr += PAGE_SIZE) {
		struct page *page, *head;

		if (!is_writable(*ptep))
			break;
		page = writable_page(*ptep);
		if (!n && page != first)
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
		split_huge_mapping(vma, start);
		/* Let who is unmapping it finish, and lower the map count. */
		pmd = find_any_pmd(vma->vm_mm, start);
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
	put_pages(pages + i, npages - i);
}

/*
 * As make_range(), which has locked @first, for shared memory.
 *
 * If not all pages can be had the first one is looked at alone: others may be to
 * blame. Of those, what has been replaced stays replaced, because to give it back
 * would tell the caller, too, and send it round each time. That hurts nobody: no
 * device gets permission by these entries, other owners have been told, and where
 * the caller had permission from before, all mappings had been replaced by then.
 */
static noinline int make_shared(struct vm_area_struct *vma, pmd_t *pmd,
				unsigned long start, unsigned long end,
				struct page *first, struct page **pages,
				void *owner)
{
	struct shared_walk walk = {
		.mapping = vma->vm_file->f_mapping,
		.first = linear_page_index(vma, start),
		.pages = pages,
		.owner = owner,
		.mm = vma->vm_mm,
	};
	int i, n, err;

	n = mark_shared(vma, pmd, start, end, first, pages);
	if (n <= 0) {
		unlock_page(first);
		goto put;
	}
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
	if (!err) {
		count_vm_events(DEVICE_EXCLUSIVE_MAKE, n);
		goto put;
	}
	if (err == -EOPNOTSUPP)
		break_page(first, NULL);
	put_pages(pages, n);
	n = err;
put:
	put_page(first);
	return n;
}

/*
 * The range is in one VMA and under one page-table page, and has been writable
 * a moment ago. Returns what make_entries() or make_shared() does, or what
 * lock_first_page() has for an error.
 */
static int make_range(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, struct page **pages, void *owner,
		      bool wait)
{
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, start);
	struct mmu_notifier_range range;
	struct page *first;
	int n;

	if (!pmd)
		return 0;
	first = lock_first_page(vma, pmd, start, wait);
	if (IS_ERR_OR_NULL(first))
		return PTR_ERR_OR_ZERO(first);
	if (vma->vm_flags & VM_SHARED)
		return make_shared(vma, pmd, start, end, first, pages, owner);

	mmu_notifier_range_init_owner(&range, MMU_NOTIFY_EXCLUSIVE, 0, vma,
				      vma->vm_mm, start, end, owner);
	mmu_notifier_invalidate_range_start(&range);
	n = make_entries(vma, pmd, start, end, first, pages);
	mmu_notifier_invalidate_range_end(&range);

	if (n > 0)
		count_vm_events(DEVICE_EXCLUSIVE_MAKE, n);
	else
		unlock_page(first);
	put_page(first);
	return n;
}

/* Does what device_exclusive_make_range() says. */
static int make_leading_pages(struct mm_struct *mm, unsigned long start,
			      unsigned long end, struct page **pages,
			      void *owner)
{
	struct vm_area_struct *vma;
	int tries = MAKE_TRIES;
	unsigned long stop;
	int ret;

	if (!owner || start >= end || !PAGE_ALIGNED(start | end))
		return -EINVAL;

	vma = find_vma(mm, start);
	if (!vma || start < vma->vm_start)
		return -EFAULT;
	ret = check_vma(vma);
	if (ret)
		return ret;
	end = pmd_addr_end(start, min(end, vma->vm_end));

	do {
		if (fatal_signal_pending(current))
			return -EINTR;
		cond_resched();
		stop = end;
		ret = fault_in_range(vma, start, &stop, &tries);
		if (!ret)
			ret = make_range(vma, start, stop, pages, owner, true);
	} while (!ret && --tries > 0);
	return ret ? ret : -EAGAIN;
}

#ifdef CONFIG_LOCKDEP
/*
 * The pages that a driver holds, for lockdep, which knows nothing of page locks:
 * a lock that comes behind mmap_lock and before what notifier callbacks take.
 */
static struct lockdep_map held_pages =
	STATIC_LOCKDEP_MAP_INIT("device_exclusive_pages", &held_pages);
#endif

/**
 * device_exclusive_make_range() - keep the CPU from memory for a device
 * @mm: the address space
 * @start: first address, page aligned
 * @end: address behind the last page, page aligned
 * @pages: filled with the pages, has room for one per page of the range
 * @owner: the agent that asks, not NULL: one whose own accesses are atomic among
 *	themselves, in every mm that it works on
 *
 * Replaces the CPU's mappings of leading pages of the range by device-exclusive
 * entries, faulting pages in for writing as needed. The pages are returned
 * locked and with a reference each. While they are locked no CPU can reach them
 * through a user mapping. Once they are released the next CPU access ends the
 * exclusivity of the page it touches, and the driver is told of that before,
 * by its MMU notifier.
 *
 * As with read(2), a short count is no error. The driver programs its device
 * for the pages it got, releases them with device_exclusive_put_range(), and
 * asks again from where the count ended. A call never goes beyond the VMA and
 * the page-table page that @start is in, which bounds the pages that it locks.
 * It does not lock a page that somebody else has locked either, unless it is
 * the first one, so that two callers cannot wait for each other's pages.
 *
 * Everybody who mirrors @mm is told by MMU_NOTIFY_EXCLUSIVE, with @owner as the
 * owner of the range; the driver may ignore the event if it finds itself. Pages
 * that another owner has at that moment are taken over. Giving a page back to
 * the CPU is announced by MMU_NOTIFY_EXCLUSIVE without an owner: permission for
 * atomic operations must go, plain access may stay. Every other event means
 * what it always means. Splitting a huge mapping and copying on write, which
 * may happen in here, send events of their own, so going round once more is
 * normal. With an interval notifier inserted, a round is::
 *
 *	again:
 *		seq = mmu_interval_read_begin(&sub);
 *		mmap_read_lock(mm);
 *		n = device_exclusive_make_range(mm, start, end, pages, owner);
 *		mmap_read_unlock(mm);
 *		if (n <= 0)
 *			return n;
 *		mutex_lock(&driver->lock);
 *		if (mmu_interval_read_retry(&sub, seq)) {
 *			mutex_unlock(&driver->lock);
 *			device_exclusive_put_range(pages, n);
 *			goto again;
 *		}
 *		... give the device atomic permission for n pages from start ...
 *		mutex_unlock(&driver->lock);
 *		device_exclusive_put_range(pages, n);
 *
 * Whoever has waited for a page here, while another owner made it exclusive, has
 * that owner's event in its section, goes round, and sends the other one round
 * by its own event. Two that want the same page at the same time can go on like
 * this: wait for a random time before a third round.
 *
 * While it holds pages a driver must not take mmap_lock, call this function,
 * begin a notifier read section, remove an interval notifier, drop what may be
 * the last reference to the mm, or wait for a thread that does one of these:
 * fork() or an invalidation may be waiting for the pages.
 *
 * Only accesses through user mappings are kept away. Direct I/O, other devices
 * and kernel code that hold the page by reference are not.
 *
 * Context: mmap_lock is held, for reading is enough, and is never dropped. The
 * caller keeps the mm alive, and holds no page lock, nor a lock that its own
 * notifier callback takes: lockdep complains of the latter, and of pages held
 * from an earlier call. May sleep.
 * Return:
 * * n > 0 - that many leading pages of the range are exclusive now
 * * -EFAULT - nothing is mapped at @start, or it may not be written, or only a
 *   userfaultfd handler could provide it
 * * -EOPNOTSUPP - memory of a kind that cannot be exclusive: hugetlb, DAX, PFN
 *   maps, shared mappings of files other than those of tmpfs, and pages that a
 *   driver has mapped elsewhere
 * * -EINTR - a fatal signal is pending
 * * -EAGAIN - the page or its mappings have changed whenever they were looked at:
 *   try again, after mmap_lock has been dropped
 * * -ENOMEM - there is no memory to fault the first page in
 * * -EINVAL - the range is empty, wraps or is not aligned, or there is no owner
 */
int device_exclusive_make_range(struct mm_struct *mm, unsigned long start,
				unsigned long end, struct page **pages,
				void *owner)
{
	int ret;

	mmap_assert_locked(mm);
	lock_map_acquire(&held_pages);
	ret = make_leading_pages(mm, start, end, pages, owner);
	if (ret < 0) {
		lock_map_release(&held_pages);
		count_vm_event(DEVICE_EXCLUSIVE_REFUSED);
		trace_device_exclusive_refused(mm, start, end, ret, owner);
	} else {
		trace_device_exclusive_make(mm, start, end, ret, owner);
	}
	return ret;
}
EXPORT_SYMBOL_GPL(device_exclusive_make_range);

/**
 * device_exclusive_put_range() - release what a driver was given
 * @pages: the array that device_exclusive_make_range() filled
 * @npages: the number it returned; nothing is done if that is an error
 *
 * Unlocks the pages and drops their references. The device keeps them until its
 * driver is told otherwise by the MMU notifier.
 *
 * Context: The task that got the pages: lockdep follows them from there to here.
 * Does not sleep.
 */
void device_exclusive_put_range(struct page **pages, int npages)
{
	put_pages(pages, npages);
	if (npages > 0)
		lock_map_release(&held_pages);
}
EXPORT_SYMBOL_GPL(device_exclusive_put_range);

/*
 * What get_user_pages() would find, for the historic call: how many leading pages
 * of the range can be faulted in for writing, or an error if that is none. Memory
 * that cannot be exclusive counts if it has pages. No page lock is held.
 */
static int fault_in_all(struct mm_struct *mm, unsigned long start,
			unsigned long end)
{
	unsigned long addr = start, stop;
	struct vm_area_struct *vma;
	int err = 0, tries;

	for (; addr < end; addr = stop) {
		vma = find_vma(mm, addr);
		err = vma && addr >= vma->vm_start ? check_vma(vma) : -EFAULT;
		if (err == -EOPNOTSUPP &&
		    !(vma->vm_flags & (VM_IO | VM_PFNMAP))) {
			stop = min(end, vma->vm_end);
			continue;
		}
		if (err)
			break;
		tries = MAKE_TRIES;
		stop = pmd_addr_end(addr, min(end, vma->vm_end));
		err = fault_in_range(vma, addr, &stop, &tries);
		if (err)
			break;
		cond_resched();
	}
	return addr > start ? (addr - start) >> PAGE_SHIFT : err;
}

/* One page, if its lock can be had at once. Others are held by the caller. */
static int try_one_page(struct mm_struct *mm, unsigned long addr,
			struct page **page, void *owner)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	if (check_vma(vma))
		return 0;
	return make_range(vma, addr, addr + PAGE_SIZE, page, owner, false);
}

/**
 * make_device_exclusive_range() - device_exclusive_make_range(), page by page
 * @mm: the address space
 * @start: first address, page aligned
 * @end: address behind the last page, page aligned
 * @pages: filled with the pages or NULL, has room for one per page of the range
 * @owner: as for device_exclusive_make_range(), or NULL: then everybody is told,
 *	the driver that asks too
 *
 * For drivers written for v5.14 to v6.14, where the function of this name hands
 * out pages that are locked one by one: for each that is not NULL the driver calls
 * unlock_page() and put_page(). Pages that are not exclusive are NULL, and so are
 * all behind the number that is returned.
 *
 * A huge page has one lock. So the first page of it that can be had is handed out,
 * and others of it are NULL until that is unlocked. So are pages that anybody else
 * has locked, but for the first of the range, which is waited for.
 *
 * What is said there about holding pages holds here. New drivers are better off
 * with device_exclusive_make_range(): it does many pages at once, and says what is
 * wrong with the one it cannot have.
 *
 * Context: As device_exclusive_make_range().
 * Return: The number of leading pages of the range that could be faulted in for
 * writing, exclusive or not. If that is none, -EFAULT, -ENOMEM, -EAGAIN or -EINTR;
 * -EINVAL if the range is empty, wraps or is not aligned.
 */
int make_device_exclusive_range(struct mm_struct *mm, unsigned long start,
				unsigned long end, struct page **pages,
				void *owner)
{
	/* Nobody is this one. Without owner it would be an event of another kind. */
	static char nobody;
	int i, npages, n, got = 0;

	mmap_assert_locked(mm);
	/* Its own pages are not followed: drivers unlock them by unlock_page(). */
	lock_map_acquire(&held_pages);
	lock_map_release(&held_pages);
	if (start >= end || !PAGE_ALIGNED(start | end))
		return -EINVAL;
	if (!owner)
		owner = &nobody;

	memset(pages, 0, ((end - start) >> PAGE_SHIFT) * sizeof(*pages));
	npages = fault_in_all(mm, start, end);
	for (i = 0; i < npages; i++, start += PAGE_SIZE) {
		/* Nothing may be waited for, once there is a page. */
		if (got)
			n = try_one_page(mm, start, pages + i, owner);
		else
			n = make_leading_pages(mm, start, start + PAGE_SIZE,
					       pages + i, owner);
		if (n == 1)
			got++;
		else
			pages[i] = NULL;
		cond_resched();
	}
	return npages;
}
EXPORT_SYMBOL_GPL(make_device_exclusive_range);
