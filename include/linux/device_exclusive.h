/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _LINUX_DEVICE_EXCLUSIVE_H
#define _LINUX_DEVICE_EXCLUSIVE_H
/*
 * Device-exclusive memory: take the CPU's mappings of a page away for as long
 * as a device does atomic operations on it. This is the part that drivers use;
 * see Documentation/vm/device_exclusive.rst.
 */

struct mm_struct;
struct page;

#ifdef CONFIG_DEVICE_EXCLUSIVE

int device_exclusive_make_range(struct mm_struct *mm, unsigned long start,
				unsigned long end, struct page **pages,
				void *owner);
void device_exclusive_put_range(struct page **pages, int npages);

/* With a lock for each page; see there before using it in new drivers. */
int make_device_exclusive_range(struct mm_struct *mm, unsigned long start,
				unsigned long end, struct page **pages,
				void *owner);

#endif /* CONFIG_DEVICE_EXCLUSIVE */

#endif /* _LINUX_DEVICE_EXCLUSIVE_H */
