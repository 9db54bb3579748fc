//! Tests of comparisons that need no run folders.

use proptest::prelude::*;

use super::page::{Form, Page, chance};
use super::warnings::list;
use super::{Contest, Contrast, Options};
use crate::statistics::Method;

#[test]
fn seeds_are_written_as_people_write_them() {
    for (seeds, text) in [
        (&[][..], ""),
        (&[1], "1"),
        (&[1, 2], "1, 2"),
        (&[1, 2, 3, 4], "1-4"),
        (&[0, 3, 4, 5, 9], "0, 3-5, 9"),
        (&[7, 7], "7, 7"),
        (&[u64::MAX, 0], "18446744073709551615, 0"),
    ] {
        assert_eq!(list(seeds), text);
    }
}

#[test]
fn a_page_is_columns_for_a_terminal_and_markdown_that_can_be_pasted() {
    let rows = [["name", "x"], ["  a|b", "1.0"]].map(|row| row.map(str::to_owned).to_vec());
    let write = |form| {
        let mut page = Page::new(form);
        page.heading("Head");
        page.list(["item".to_owned()]);
        page.table(&rows);
        page.finish()
    };
    assert_eq!(write(Form::Text), "Head\n  item\n\nname     x\n-----  ---\n  a|b  1.0");
    assert_eq!(write(Form::Markdown), "**Head**\n\n- item\n\n| name | x |\n| :-- | --: |\n| a\\|b | 1.0 |");
    assert_eq!([Some(0.04567), Some(1e-9), None].map(chance), ["0.0457", "< 0.0001", "-"]);
}

#[test]
fn runs_that_never_arrive_are_counted_and_are_the_last() {
    let contest =
        Contest::between(vec![Some(3.0), None, Some(5.0), None], vec![Some(2.0); 4], Method::Paired);
    assert_eq!(
        (contest.a.runs, contest.a.arrived.n, contest.a.arrived.mean, contest.a.median),
        (4, 2, 4.0, None)
    );
    assert_eq!((contest.b.arrived.n, contest.b.median), (4, Some(2.0)));
    assert_eq!(contest.test, None, "there is no mean of times that are not known");
    let ranks = contest.ranks.unwrap();
    assert!((ranks.p - 2.0 / 70.0).abs() < 1e-12 && ranks.u == 0.0, "{ranks:?}");
    let contest = Contest::between(
        vec![Some(3.0), None, Some(5.0)],
        vec![Some(2.0), Some(2.5), Some(4.0)],
        Method::Welch,
    );
    assert_eq!(contest.a.median, Some(5.0));
    let all = Contest::between(vec![Some(3.0), Some(5.0)], vec![Some(2.0), Some(2.5)], Method::Welch);
    assert_eq!(all.test.unwrap().difference, -1.75);
}

proptest! {
    #[test]
    fn a_swap_of_the_groups_turns_a_contrast_round(
        pairs in proptest::collection::vec((0u32..1000, 0u32..1000), 1..6), is_paired: bool
    ) {
        let a: Vec<f64> = pairs.iter().map(|pair| f64::from(pair.0) / 1024.0).collect();
        let b: Vec<f64> = pairs.iter().map(|pair| f64::from(pair.1) / 1024.0).collect();
        let method = if is_paired { Method::Paired } else { Method::Welch };
        let of = |a: &[f64], b: &[f64]| Contrast::between(a, b, method, &Options::default()).unwrap();
        let (found, swapped) = (of(&a, &b), of(&b, &a));
        prop_assert_eq!((found.a, found.b), (swapped.b, swapped.a));
        prop_assert_eq!(found.difference, -swapped.difference);
        prop_assert_eq!(found.seeds.map(|it| it.seeds), swapped.seeds.map(|it| it.seeds));
        prop_assert_eq!(found.test.is_some(), swapped.test.is_some());
        prop_assert_eq!(found.corrected_p.is_some(), found.test.is_some());
        prop_assert_eq!(found.cohens_dz.is_some(), is_paired && found.test.is_some());
    }
}
