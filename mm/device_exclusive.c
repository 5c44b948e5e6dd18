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

#include "device_exclusive.h"
#include "internal.h"

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

/*
 * The mapping of @page is back. If a driver had it locked when the VMA was locked,
 * it has not been mlocked yet: do as follow_page(). @locked is what the caller has
 * locked. The page-table lock is held, so munlock() finds the page after us, should
 * it be about to clear the flag of the VMA.
 */
void device_exclusive_mlock(struct vm_area_struct *vma, struct page *page,
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
 * mapped elsewhere, or is part of a huge page of a file, needs
 * device_exclusive_break(). The page is locked, so it does not get another mapping
 * meanwhile.
 */
static inline bool is_sole_mapping(struct page *page)
{
	return PageAnon(page) ||
	       (!PageCompound(page) && page_mapcount(page) == 1);
}

/* The only mapping of @page is about to come back. Both locks are held. */
static inline bool end_sole_mapping(struct page *page)
{
	if (!is_sole_mapping(page))
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
	bool sole;

	if (!got && compound_head(page) != locked)
		return false;
	sole = anon || end_sole_mapping(page);
	if (sole)
		set_present_pte(vma, addr, ptep,
				present_pte(vma, page, *ptep,
					    !soft_dirty_lost(*ptep), anon));
	if (got)
		unlock_page(page);
	return sole;
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
	device_exclusive_mlock(vma, page, NULL);
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

	window->directions = SCAN_BEGIN;
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
	window->directions = scan & SCAN_BEGIN;
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

/* Of what this fault has restored, @locked is locked. Page-table lock held. */
static noinline void mlock_window(struct vm_fault *vmf, int step, int npages,
				  struct page *locked)
{
	int i;

	for (i = 0; i < npages; i++)
		device_exclusive_mlock(vmf->vma, pte_page(vmf->pte[i * step]),
				       locked);
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
	if (!pte_same(*ptep, vmf->orig_pte))
		goto unlock;
	if (!anon && !end_sole_mapping(page))
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
 * Could there be pages that may be pinned and would come back read-only? To look
 * at each would cost more than to restore just the one that has been touched.
 */
static bool may_be_pinned_read_only(struct vm_area_struct *vma)
{
	return atomic_read(&vma->vm_mm->has_pinned) &&
	       (userfaultfd_wp(vma) || !(vma->vm_flags & VM_WRITE));
}

/* The page of the fault, locked, has no other mapping. */
static void fault_sole_mapping(struct vm_fault *vmf, struct page *page)
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
		current->device_exclusive_scan = start | window.directions |
						 window.npages;
		count_vm_event(DEVICE_EXCLUSIVE_FAULT);
		count_vm_events(DEVICE_EXCLUSIVE_AHEAD, window.npages - 1);
		trace_device_exclusive_break(vma->vm_mm, start, window.npages);
	}
}

/*
 * The page of the fault, locked and in the file, may have other mappings. What a
 * scan wants next comes back with it. Of a huge page all does.
 */
static noinline void fault_shared(struct vm_fault *vmf, struct page *page)
{
	struct window window;

	if (PageCompound(page)) {
		device_exclusive_break(page, vmf);
		return;
	}
	find_scan(vmf, &window);
	if (window.npages > 1)
		window.npages = look_ahead(vmf, window.step, window.npages);
	device_exclusive_break_window(vmf, page, &window);
	current->device_exclusive_scan = window_start(vmf, &window) |
					 window.directions | window.npages;
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
	if (is_sole_mapping(page))
		fault_sole_mapping(vmf, page);
	else if (PageDeviceExclusive(page) || is_unchanged(vmf))
		fault_shared(vmf, page);
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

/* There it shows what is in the file until it is written to. */
static inline bool is_private_file(struct vm_area_struct *vma)
{
	return !vma_is_anonymous(vma) && !(vma->vm_flags & VM_SHARED);
}

static bool maps_file_page(pte_t pte)
{
	struct page *page = exclusive_page(pte);

	return page && !PageAnon(page);
}

/*
 * Have @addr mapped by a PTE if it is mapped at all. The huge page itself stays
 * whole. No notifier range is open, and no page lock is held if the memory is
 * anonymous.
 */
void device_exclusive_split(struct vm_area_struct *vma, unsigned long addr)
{
	pmd_t *pmd = mm_find_any_pmd(vma->vm_mm, addr);

	if (pmd)
		split_huge_pmd(vma, pmd, addr);
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
	pmd_t *pmd = mm_alloc_pmd(mm, addr);

	if (!pmd || pte_alloc(mm, pmd))
		return -ENOMEM;
	device_exclusive_split(vma, addr);
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
		device_exclusive_split(vma, addr);
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
			if (maps_file_page(ptep[n]))
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
		device_exclusive_split(vma, addr);
	}

	if (addr == start)
		return err;
	*end = addr;
	return 0;
}

/* Unlock the pages and drop their references. */
void device_exclusive_put_pages(struct page **pages, int npages)
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
	if (is_writable(*ptep) &&
	    !(is_private_file(vma) && maps_file_page(*ptep))) {
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
 * Make as many leading pages of the range exclusive as can be locked, pages[0]
 * being locked already. A huge page is locked once for all neighbours that
 * belong to it; if it turns up again later, its lock is found taken and the
 * count ends there.
 *
 * Returns the number of pages; 0 if the first is not mapped here any more, or not
 * only here.
 */
static int make_entries(struct vm_area_struct *vma, pmd_t *pmd,
			unsigned long start, unsigned long end,
			struct page **pages)
{
	long npages = (end - start) >> PAGE_SHIFT, n = 0;
	struct page *locked = compound_head(pages[0]);
	bool flush = false;
	spinlock_t *ptl;
	pte_t *ptep;

	flush_cache_range(vma, start, end);
	ptep = pte_offset_map_lock(vma->vm_mm, pmd, start, &ptl);
	/* Which is anonymous. What else others are is seen with the lock. */
	if (!is_writable(*ptep) || writable_page(*ptep) != pages[0])
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

/* As make_entries(), for memory with one mapping: that of this mm. */
static int make_private(struct vm_area_struct *vma, pmd_t *pmd,
			unsigned long start, unsigned long end,
			struct page **pages, void *owner)
{
	struct mmu_notifier_range range;
	int n;

	mmu_notifier_range_init_owner(&range, MMU_NOTIFY_EXCLUSIVE, 0, vma,
				      vma->vm_mm, start, end, owner);
	mmu_notifier_invalidate_range_start(&range);
	n = make_entries(vma, pmd, start, end, pages);
	mmu_notifier_invalidate_range_end(&range);
	return n;
}

/*
 * The range is in one VMA and under one page-table page, and has been writable
 * a moment ago. Returns what make_private() or device_exclusive_make_shared() does,
 * or what lock_first_page() has for an error.
 */
static int make_range(struct vm_area_struct *vma, unsigned long start,
		      unsigned long end, struct page **pages, void *owner,
		      bool wait)
{
	pmd_t *pmd = mm_find_pmd(vma->vm_mm, start);
	struct page *first;
	int n;

	if (!pmd)
		return 0;
	first = lock_first_page(vma, pmd, start, wait);
	if (IS_ERR_OR_NULL(first))
		return PTR_ERR_OR_ZERO(first);

	pages[0] = first;
	if (vma->vm_flags & VM_SHARED)
		n = device_exclusive_make_shared(vma, pmd, start, end, pages,
						 owner);
	else
		n = make_private(vma, pmd, start, end, pages, owner);
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
 * @pages: filled with the pages, has room for one per page of the range; what is
 *	there behind the count, or on error, means nothing
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
	device_exclusive_put_pages(pages, npages);
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
