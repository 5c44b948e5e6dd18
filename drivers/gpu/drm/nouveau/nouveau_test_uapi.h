/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * The interface of /dev/nouveau_test: have a GPU made of memory access the
 * memory of the process that has opened the file.
 */
#ifndef __NOUVEAU_TEST_UAPI_H__
#define __NOUVEAU_TEST_UAPI_H__

#include <linux/ioctl.h>
#include <linux/types.h>

#define NOUVEAU_TEST_READ	0
#define NOUVEAU_TEST_WRITE	1
#define NOUVEAU_TEST_ATOMIC	2

/**
 * struct nouveau_test_access - access eight bytes
 * @addr: where, a multiple of eight
 * @value: (in/out) what is read, written, or added
 * @count: (in/out) how many times to do it, how many times it has been done
 * @access: NOUVEAU_TEST_READ, WRITE or ATOMIC
 * @pad: 0
 *
 * Fails with EFAULT if the driver has cancelled the fault, with EINTR on a
 * signal.
 */
struct nouveau_test_access {
	__u64 addr;
	__u64 value;
	__u64 count;
	__u32 access;
	__u32 pad;
};

/**
 * struct nouveau_test_pte - look at the GPU's page table
 * @addr: where
 * @pte: (out) what PFNMAP was given: 1 valid, 2 writable, 4 atomics allowed,
 *	16 in VRAM
 */
struct nouveau_test_pte {
	__u64 addr;
	__u64 pte;
};

/**
 * struct nouveau_test_stats - what the driver has done to the GPU so far
 * @faults: faults put into the buffer
 * @replays: replays
 * @cancels: faults cancelled
 * @maps: PFNMAPs
 * @clears: PFNCLRs
 * @demotions: PFNCLRs that took atomics only
 * @overwritten: valid entries overwritten, which must not happen
 * @clean: clean pages mapped writable, which must not happen either
 */
struct nouveau_test_stats {
	__u64 faults;
	__u64 replays;
	__u64 cancels;
	__u64 maps;
	__u64 clears;
	__u64 demotions;
	__u64 overwritten;
	__u64 clean;
};

/**
 * struct nouveau_test_bind - move memory to VRAM, of which there are 2 MiB
 * @addr: where
 * @size: how much
 */
struct nouveau_test_bind {
	__u64 addr;
	__u64 size;
};

#define NOUVEAU_TEST_IOC_ACCESS	_IOWR('N', 0x00, struct nouveau_test_access)
#define NOUVEAU_TEST_IOC_PTE	_IOWR('N', 0x01, struct nouveau_test_pte)
#define NOUVEAU_TEST_IOC_STATS	_IOR('N', 0x02, struct nouveau_test_stats)
#define NOUVEAU_TEST_IOC_BIND	_IOW('N', 0x03, struct nouveau_test_bind)

#endif
