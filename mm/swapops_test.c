// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the special swap entries: every kind against every predicate,
 * and what a page table keeps of them. A kind that is configured out must be
 * constant false, or the code for it would not be compiled away.
 */
#include <kunit/test.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/swap.h>
#include <linux/swapops.h>

enum {
	NON_SWAP	= BIT(0),
	HAS_PFN		= BIT(1),
	MIGRATION	= BIT(2),
	PRIVATE		= BIT(3),
	EXCLUSIVE	= BIT(4),
	HWPOISON	= BIT(5),
	WRITABLE	= BIT(6),
};

static int kinds_of(swp_entry_t entry)
{
	return (non_swap_entry(entry) ? NON_SWAP : 0) |
	       (is_pfn_swap_entry(entry) ? HAS_PFN : 0) |
	       (is_migration_entry(entry) ? MIGRATION : 0) |
	       (is_device_private_entry(entry) ? PRIVATE : 0) |
	       (is_device_exclusive_entry(entry) ? EXCLUSIVE : 0) |
	       (is_hwpoison_entry(entry) ? HWPOISON : 0) |
	       (is_writable_migration_entry(entry) ? WRITABLE : 0) |
	       (is_writable_device_private_entry(entry) ? WRITABLE : 0);
}

/* @entry is of the kinds given, and stays what it is in a page table. */
static void expect_kinds(struct kunit *test, swp_entry_t entry,
			 struct page *page, int kinds)
{
	pte_t pte = swp_entry_to_pte(entry);

	KUNIT_EXPECT_EQ(test, kinds_of(entry), kinds);
	if (kinds & HAS_PFN) {
		KUNIT_EXPECT_EQ(test, swp_offset(entry), page_to_pfn(page));
		KUNIT_EXPECT_PTR_EQ(test, pfn_swap_entry_to_page(entry), page);
	}

	KUNIT_EXPECT_TRUE(test, is_swap_pte(pte));
	KUNIT_EXPECT_EQ(test, kinds_of(pte_to_swp_entry(pte)), kinds);
	KUNIT_EXPECT_EQ(test, is_device_exclusive_pte(pte),
			(bool)(kinds & EXCLUSIVE));

	pte = pte_swp_mkuffd_wp(pte_swp_mksoft_dirty(pte));
	KUNIT_EXPECT_TRUE(test, is_swap_pte(pte));
	KUNIT_EXPECT_EQ(test, pte_to_swp_entry(pte).val, entry.val);
	KUNIT_EXPECT_EQ(test, is_device_exclusive_pte(pte),
			(bool)(kinds & EXCLUSIVE));
}

static void swap_entries_hold_no_pfn(struct kunit *test)
{
	expect_kinds(test, swp_entry(0, 1), NULL, 0);
	expect_kinds(test, swp_entry(MAX_SWAPFILES - 1, 1), NULL, 0);
}

static void migration_entries(struct kunit *test)
{
	struct page *page = test->priv;
	unsigned long pfn = page_to_pfn(page);

	if (!IS_ENABLED(CONFIG_MIGRATION))
		return;
	expect_kinds(test, make_readable_migration_entry(pfn), page,
		     NON_SWAP | HAS_PFN | MIGRATION);
	expect_kinds(test, make_writable_migration_entry(pfn), page,
		     NON_SWAP | HAS_PFN | MIGRATION | WRITABLE);
}

static void device_private_entries(struct kunit *test)
{
	struct page *page = test->priv;
	unsigned long pfn = page_to_pfn(page);

	if (!IS_ENABLED(CONFIG_DEVICE_PRIVATE))
		return;
	expect_kinds(test, make_readable_device_private_entry(pfn), page,
		     NON_SWAP | HAS_PFN | PRIVATE);
	expect_kinds(test, make_writable_device_private_entry(pfn), page,
		     NON_SWAP | HAS_PFN | PRIVATE | WRITABLE);
}

static void device_exclusive_entries(struct kunit *test)
{
	struct page *page = test->priv;

	if (!IS_ENABLED(CONFIG_DEVICE_EXCLUSIVE))
		return;
	expect_kinds(test, make_device_exclusive_entry(page_to_pfn(page)), page,
		     NON_SWAP | HAS_PFN | EXCLUSIVE);
}

static void hwpoison_entries(struct kunit *test)
{
	struct page *page = test->priv;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		return;
	expect_kinds(test, make_hwpoison_entry(page), page,
		     NON_SWAP | HAS_PFN | HWPOISON);
}

/* For no entry at all, or the build fails. */
static void kinds_configured_out_are_constant_false(struct kunit *test)
{
	swp_entry_t any = { .val = READ_ONCE(*(unsigned long *)test) };
	pte_t pte = swp_entry_to_pte(any);

	if (!IS_ENABLED(CONFIG_DEVICE_EXCLUSIVE)) {
		BUILD_BUG_ON(is_device_exclusive_entry(any));
		BUILD_BUG_ON(is_device_exclusive_pte(pte));
	}
	if (!IS_ENABLED(CONFIG_DEVICE_PRIVATE)) {
		BUILD_BUG_ON(is_device_private_entry(any));
		BUILD_BUG_ON(is_writable_device_private_entry(any));
	}
	if (!IS_ENABLED(CONFIG_MIGRATION)) {
		BUILD_BUG_ON(is_migration_entry(any));
		BUILD_BUG_ON(is_writable_migration_entry(any));
	}
	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		BUILD_BUG_ON(is_hwpoison_entry(any));
}

static int swapops_init(struct kunit *test)
{
	struct page *page = alloc_page(GFP_KERNEL);

	if (!page)
		return -ENOMEM;
	/* Migration and hwpoison entries are for locked pages only. */
	lock_page(page);
	test->priv = page;
	return 0;
}

static void swapops_exit(struct kunit *test)
{
	struct page *page = test->priv;

	if (!page)
		return;
	unlock_page(page);
	put_page(page);
}

static struct kunit_case swapops_cases[] = {
	KUNIT_CASE(swap_entries_hold_no_pfn),
	KUNIT_CASE(migration_entries),
	KUNIT_CASE(device_private_entries),
	KUNIT_CASE(device_exclusive_entries),
	KUNIT_CASE(hwpoison_entries),
	KUNIT_CASE(kinds_configured_out_are_constant_false),
	{}
};

static struct kunit_suite swapops_suite = {
	.name = "swapops",
	.init = swapops_init,
	.exit = swapops_exit,
	.test_cases = swapops_cases,
};

kunit_test_suite(swapops_suite);
