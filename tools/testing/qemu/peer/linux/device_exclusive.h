/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where lib/test_device_exclusive_bench.c is built for a later kernel, this gives
 * it our interface on top of that kernel's own.
 */
#ifndef _LINUX_DEVICE_EXCLUSIVE_H
#define _LINUX_DEVICE_EXCLUSIVE_H

#include <linux/err.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/version.h>

/*
 * v5.14 to v6.14 leave NULL in the array for pages that they could not have. Since
 * v6.15 a call is for one page.
 */
static inline int device_exclusive_make_range(struct mm_struct *mm,
					      unsigned long start,
					      unsigned long end,
					      struct page **pages, void *owner)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
	struct folio *folio;

	pages[0] = make_device_exclusive(mm, start, owner, &folio);
	return PTR_ERR_OR_ZERO(pages[0]) ?: 1;
#else
	return make_device_exclusive_range(mm, start, end, pages, owner);
#endif
}

static inline void device_exclusive_put_range(struct page **pages, int npages)
{
	int i;

	for (i = 0; i < npages; i++) {
		if (pages[i]) {
			unlock_page(pages[i]);
			put_page(pages[i]);
		}
	}
}

#endif /* _LINUX_DEVICE_EXCLUSIVE_H */
