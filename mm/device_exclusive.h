/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Device-exclusive memory: what its files know of each other. What the rest of mm
 * calls is in internal.h, and what drivers do in <linux/device_exclusive.h>.
 */
#ifndef _MM_DEVICE_EXCLUSIVE_H
#define _MM_DEVICE_EXCLUSIVE_H

#include <linux/mm.h>
#include <linux/page_idle.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/userfaultfd_k.h>

#include <asm/tlbflush.h>

/* Has soft-dirty been cleared since the entry was made with it set? */
static inline bool soft_dirty_lost(pte_t entry)
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

static inline void set_present_pte(struct vm_area_struct *vma,
				   unsigned long addr, pte_t *ptep, pte_t pte)
{
	/* The entry was not present: no TLB holds anything for it. */
	set_pte_at(vma->vm_mm, addr, ptep, pte);
	update_mmu_cache(vma, addr, ptep);
}

/*
 * Does @pte let the CPU write, or would it if no device had the page? The VMA has
 * VM_WRITE. Of a private mapping of a file that is true only if the page is
 * anonymous, which the caller has to look at. Page-table lock held.
 */
static inline bool is_writable(pte_t pte)
{
	if (pte_present(pte))
		return pte_write(pte) && !pte_protnone(pte);
	return is_device_exclusive_pte(pte) && !pte_swp_uffd_wp(pte);
}

/*
 * The page of a PTE that is_writable(). Page-table lock held. The VMA is one that
 * check_vma() accepts: what is writable there is a normal page.
 */
static inline struct page *writable_page(pte_t pte)
{
	return pte_present(pte) ? pte_page(pte) : exclusive_page(pte);
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
static inline void make_entry(struct vm_area_struct *vma, unsigned long addr,
			      pte_t *ptep, struct page *page)
{
	swp_entry_t entry = make_device_exclusive_entry(page_to_pfn(page));
	pte_t pte = pte_swp_mksoft_dirty(swp_entry_to_pte(entry));

	ptep_get_and_clear(vma->vm_mm, addr, ptep);
	set_pte_at(vma->vm_mm, addr, ptep, pte);
}

/* The same where there is an entry, whose owner has been told by now. */
static inline void take_over_entry(struct vm_area_struct *vma,
				   unsigned long addr, pte_t *ptep)
{
	set_pte_at(vma->vm_mm, addr, ptep, pte_swp_mksoft_dirty(*ptep));
}

/* What a fault restores: @npages from the fault on, upwards or downwards */
struct window {
	unsigned long directions;
	int step;
	int npages;
};

/* The lowest address of the window */
static inline unsigned long window_start(struct vm_fault *vmf,
					 struct window *window)
{
	if (window->step > 0)
		return vmf->address;
	return vmf->address - (window->npages - 1) * PAGE_SIZE;
}

/* device_exclusive.c */
void device_exclusive_mlock(struct vm_area_struct *vma, struct page *page,
			    struct page *locked);
void device_exclusive_split(struct vm_area_struct *vma, unsigned long addr);
void device_exclusive_put_pages(struct page **pages, int npages);

/* device_exclusive_shared.c */
void device_exclusive_break_window(struct vm_fault *vmf, struct page *page,
				   struct window *window);
int device_exclusive_make_shared(struct vm_area_struct *vma, pmd_t *pmd,
				 unsigned long start, unsigned long end,
				 struct page **pages, void *owner);

#endif /* _MM_DEVICE_EXCLUSIVE_H */
