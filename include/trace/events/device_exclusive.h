/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM device_exclusive

#if !defined(_TRACE_DEVICE_EXCLUSIVE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_DEVICE_EXCLUSIVE_H

#include <linux/tracepoint.h>

struct mm_struct;

/* Pages from start on were made exclusive, or taken over from another owner. */
TRACE_EVENT(device_exclusive_make,

	TP_PROTO(struct mm_struct *mm, unsigned long start, unsigned long end,
		 int npages, void *owner),

	TP_ARGS(mm, start, end, npages, owner),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(int, npages)
		__field(void *, owner)
	),

	TP_fast_assign(
		__entry->mm = mm;
		__entry->start = start;
		__entry->end = end;
		__entry->npages = npages;
		__entry->owner = owner;
	),

	TP_printk("mm=%p start=%#lx end=%#lx npages=%d owner=%p",
		  __entry->mm, __entry->start, __entry->end, __entry->npages,
		  __entry->owner)
);

/* A request ended with an error, which is for the page at start. */
TRACE_EVENT(device_exclusive_refused,

	TP_PROTO(struct mm_struct *mm, unsigned long start, unsigned long end,
		 int error, void *owner),

	TP_ARGS(mm, start, end, error, owner),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(unsigned long, end)
		__field(int, error)
		__field(void *, owner)
	),

	TP_fast_assign(
		__entry->mm = mm;
		__entry->start = start;
		__entry->end = end;
		__entry->error = error;
		__entry->owner = owner;
	),

	TP_printk("mm=%p start=%#lx end=%#lx error=%d owner=%p",
		  __entry->mm, __entry->start, __entry->end, __entry->error,
		  __entry->owner)
);

DECLARE_EVENT_CLASS(device_exclusive_back,

	TP_PROTO(struct mm_struct *mm, unsigned long start, int npages),

	TP_ARGS(mm, start, npages),

	TP_STRUCT__entry(
		__field(struct mm_struct *, mm)
		__field(unsigned long, start)
		__field(int, npages)
	),

	TP_fast_assign(
		__entry->mm = mm;
		__entry->start = start;
		__entry->npages = npages;
	),

	TP_printk("mm=%p start=%#lx npages=%d",
		  __entry->mm, __entry->start, __entry->npages)
);

/* The CPU touched a page, and got it back, and perhaps neighbours with it. */
DEFINE_EVENT(device_exclusive_back, device_exclusive_break,

	TP_PROTO(struct mm_struct *mm, unsigned long start, int npages),

	TP_ARGS(mm, start, npages)
);

/* The kernel put a mapping back for its own purposes, fork() for instance. */
DEFINE_EVENT(device_exclusive_back, device_exclusive_restore,

	TP_PROTO(struct mm_struct *mm, unsigned long start, int npages),

	TP_ARGS(mm, start, npages)
);

#endif /* _TRACE_DEVICE_EXCLUSIVE_H */

#include <trace/define_trace.h>
