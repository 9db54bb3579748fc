"""What SciPy, statsmodels and lifelines say of the numbers in gradamp's tests of statistics.

    pip install scipy statsmodels lifelines
    python reference.py > reference.json
"""

import json
import math
import warnings

import lifelines
import numpy as np
import scipy
import statsmodels
from lifelines.statistics import logrank_test
from lifelines.utils import restricted_mean_survival_time
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.duration.survfunc import SurvfuncRight, survdiff
from statsmodels.stats.power import TTestIndPower, TTestPower
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

GROUPS = [
    ([0.7123, 0.7191, 0.7064, 0.7150, 0.7102], [0.7201, 0.7243, 0.7150, 0.7239, 0.7188]),
    ([0.7123, 0.7191, 0.7064], [0.7123, 0.7199, 0.7061]),
    ([0.31, 0.42], [0.55, 0.49]),
    ([12.0, 15.0, 11.0, 30.0, 14.0, 12.5], [9.0, 10.0, 12.0, 9.5, 9.75, 10.5]),
    ([0.1, 0.2, 0.15, 0.9], [0.85, 0.8, 0.82, 0.81]),
    ([float(x) for x in np.round(np.random.default_rng(1).normal(0.7, 0.01, 40), 6)],
     [float(x) for x in np.round(np.random.default_rng(2).normal(0.704, 0.02, 40), 6)]),
]
UNEQUAL = [
    ([0.7123, 0.7191, 0.7064, 0.7150, 0.7102], [0.7201, 0.7243, 0.7150]),
    ([1.0, 2.0], [5.0, 3.0, 4.5, 8.0, 2.0, 2.5, 3.5]),
]


def effect_interval(t, df, unit, correction):
    def bound(level):
        # Outwards from t only as far as needed: scipy's distribution is NaN far out.
        excess, reach = lambda delta: stats.nct.cdf(t, df, delta) - level, 1.0
        while not excess(t - reach) > 0 > excess(t + reach):
            reach *= 1.3
        return optimize.brentq(excess, t - reach, t + reach, xtol=1e-13)

    return [correction * unit * bound(0.975), correction * unit * bound(0.025)]


def of_test(result):
    interval = result.confidence_interval()
    return {"t": result.statistic, "df": result.df, "p": result.pvalue, "ci": [interval.low, interval.high]}


def two_groups(a, b):
    na, nb, m = len(a), len(b), len(a) + len(b) - 2
    pooled = math.sqrt(((na - 1) * np.var(a, ddof=1) + (nb - 1) * np.var(b, ddof=1)) / m)
    d, unit = (np.mean(b) - np.mean(a)) / pooled, math.sqrt(1 / na + 1 / nb)
    j = math.exp(math.lgamma(m / 2) - math.lgamma((m - 1) / 2)) / math.sqrt(m / 2)
    ranks = stats.mannwhitneyu(b, a, method="exact" if len(set(a + b)) == na + nb else "asymptotic")
    case = {
        "a": a, "b": b,
        "welch": of_test(stats.ttest_ind(b, a, equal_var=False)),
        "hedges_g": {"value": j * d, "ci": effect_interval(d / unit, m, unit, j)},
        "rank_sum": {"u": ranks.statistic, "p": ranks.pvalue, "comparable": len(set(a + b)) == na + nb or na + nb > 40},
    }
    if na == nb:
        differences = np.subtract(b, a)
        dz = np.mean(differences) / np.std(differences, ddof=1)
        case["paired"] = of_test(stats.ttest_rel(b, a))
        case["cohens_dz"] = {"value": dz, "ci": effect_interval(dz * math.sqrt(na), na - 1, 1 / math.sqrt(na), 1)}
    return case


def summary(values):
    n, mean, sd = len(values), np.mean(values), np.std(values, ddof=1)
    ci = stats.t.interval(0.95, n - 1, loc=mean, scale=sd / math.sqrt(n))
    return {"values": values, "mean": mean, "sd": sd, "ci": list(ci)}


def ranks_with_ties(a, b):
    """Over all ways to deal the ranks."""
    statistic = lambda x, y: stats.rankdata(np.concatenate([x, y]))[: len(x)].sum()
    test = stats.permutation_test((b, a), statistic, vectorized=False, n_resamples=np.inf, alternative="two-sided")
    # Twice the smaller tail there, all sums as far from the middle here: the same where the distribution is symmetric;
    # ties make it lopsided, so the distribution itself is asked.
    middle = len(b) * (len(a) + len(b) + 1) / 2
    found = abs(statistic(np.array(b), np.array(a)) - middle)
    p = np.mean(np.abs(test.null_distribution - middle) >= found - 1e-9)
    return {"a": a, "b": b, "p": p}


def of_mcnemar(b, c):
    exact = b + c < 25
    result = mcnemar([[0, b], [c, 0]], exact=exact, correction=True)
    return {"only_a": b, "only_b": c, "exact": exact, "p": result.pvalue}


def of_power(design, effect, n):
    engine = TTestPower() if design == "paired" else TTestIndPower()
    return {"design": design, "effect": effect, "n": n,
            "power": engine.power(effect, n, 0.05, alternative="two-sided") if design == "paired"
            else engine.power(effect, n, 0.05, ratio=1, alternative="two-sided")}


def of_seeds(design, effect, power):
    engine = TTestPower() if design == "paired" else TTestIndPower()
    n = engine.solve_power(effect_size=effect, alpha=0.05, power=power, alternative="two-sided")
    n = float(np.atleast_1d(n)[0])
    return {"design": design, "effect": effect, "power": power, "exact": n, "seeds": max(2, math.ceil(n - 1e-9)) if n <= 10000 else None}


def of_bootstrap():
    """Intervals by a distribution of means that is given, so that no random number has to agree."""
    rng = np.random.default_rng(3)
    values = [float(x) for x in rng.choice([-1.0, 0.0, 1.0], 60, p=[0.1, 0.65, 0.25])]
    means = np.sort(rng.choice(values, (500, 60)).mean(axis=1))
    given = stats._resampling.BootstrapResult(None, means, float(np.std(means)))
    interval = lambda method: list(
        stats.bootstrap((values,), np.mean, n_resamples=0, bootstrap_result=given, method=method).confidence_interval)
    large = [float(x) for x in rng.choice([-1.0, 0.0, 1.0], 1000, p=[0.08, 0.8, 0.12])]
    free = stats.bootstrap((large,), np.mean, n_resamples=50000, method="BCa", rng=np.random.default_rng(4))
    return {"values": values, "means": [float(m) for m in means], "percentile": interval("percentile"),
            "bca": interval("BCa"),
            "large": large, "large_bca": list(free.confidence_interval)}


SIGNS = [float(x) for x in np.round(np.random.default_rng(9).normal(0.004, 0.01, 15), 4)]

# Times, and 1 where the event happened; two groups each. With ties, censoring among events, and without any.
SURVIVAL = [
    ([3, 4, 4, 6, 8, 8], [1, 1, 1, 1, 0, 0], [2, 3, 3, 4, 5, 8], [1, 1, 1, 1, 1, 0]),
    ([1.5, 2.0, 2.0, 3.5, 5.0], [1, 0, 1, 0, 1], [0.5, 2.0, 2.5, 2.5, 6.0, 7.0, 7.0], [1, 1, 1, 0, 1, 0, 1]),
    ([5.0, 6.0, 7.0], [1, 1, 1], [2.0, 3.0, 4.0, 10.0], [1, 1, 1, 1]),
    ([8, 8, 8, 8], [0, 0, 0, 0], [3, 5, 5, 8], [1, 1, 1, 0]),
    ([float(x) for x in np.round(np.random.default_rng(5).exponential(4, 40), 1) + 0.1],
     [int(x) for x in np.random.default_rng(6).random(40) < 0.7],
     [float(x) for x in np.round(np.random.default_rng(7).exponential(7, 30), 1) + 0.1],
     [int(x) for x in np.random.default_rng(8).random(30) < 0.7]),
]


def curve(times, happened, horizons):
    fitted = lifelines.KaplanMeierFitter().fit(times, happened)
    table = fitted.event_table.iloc[1:]  # without the entry of all at 0
    share = fitted.survival_function_["KM_estimate"]
    fit = SurvfuncRight(np.array(times, float), happened)  # has a line for each time of an event only
    error = lambda t: float(fit.surv_prob_se[fit.surv_times <= t][-1]) if any(fit.surv_times <= t) else 0.0
    # lifelines' own interval, by log(-log); it says nothing where the share is 0 or 1.
    bounds = lambda t: [float(bound) for bound in sorted(fitted.confidence_interval_.loc[t])]
    steps = [{"time": t, "at_risk": row.at_risk, "events": row.observed, "censored": row.censored, "share": share[t],
              "standard_error": error(t) if share[t] > 0 else 0.0,
              "ci": bounds(t) if 0 < share[t] < 1 else None} for t, row in table.iterrows()]

    def of_horizon(horizon):
        # The variance of the mean by Kaplan and Meier's formula, from the integrals of lifelines' own curve.
        area = lambda start: (restricted_mean_survival_time(fitted, t=horizon)
                              - (restricted_mean_survival_time(fitted, t=start) if start > 0 else 0))
        variance = sum(area(t) ** 2 * row.observed / (row.at_risk * (row.at_risk - row.observed))
                       for t, row in table.iterrows() if t < horizon and row.observed < row.at_risk)
        n = len(times)
        return {"horizon": horizon, "mean": restricted_mean_survival_time(fitted, t=horizon),
                "standard_error": math.sqrt(variance * n / (n - 1))}

    # lifelines' own median is an event late where rounding leaves the share a little above one half.
    median = next((step["time"] for step in steps if step["share"] <= 0.5 + 1e-12), None)
    return {"times": times, "happened": happened, "steps": steps, "median": median,
            "restricted": [of_horizon(horizon) for horizon in horizons]}


def survival(times_a, happened_a, times_b, happened_b):
    test = logrank_test(times_a, times_b, happened_a, happened_b)
    horizons = [1.0, 3.0, min(max(times_a), max(times_b))]
    other = survdiff(np.array(times_a + times_b, float), np.array(happened_a + happened_b),
                     np.array([0] * len(times_a) + [1] * len(times_b)))
    assert abs(other[0] - test.test_statistic) < 1e-9, "statsmodels and lifelines agree"
    return {"a": curve(times_a, happened_a, horizons), "b": curve(times_b, happened_b, horizons),
            "log_rank": {"chi_square": test.test_statistic, "p": test.p_value}}


def of_equivalence(a, b, margin):
    """TOST by statsmodels; the interval by SciPy."""
    pair = lambda result: {"p": result[0], "p_lower": result[1][1], "p_upper": result[2][1]}
    ninety = lambda result: list(result.confidence_interval(0.9))
    case = {"a": a, "b": b, "smallest_difference": margin,
            "welch": {**pair(ttost_ind(b, a, -margin, margin, usevar="unequal")),
                      "ci90": ninety(stats.ttest_ind(b, a, equal_var=False))}}
    if len(a) == len(b):
        case["paired"] = {**pair(ttost_paired(np.array(b), np.array(a), -margin, margin)),
                          "ci90": ninety(stats.ttest_rel(b, a))}
    return case


def of_permutation(a, b, kind):
    """Over all arrangements; as with ranks, all that are as far from 0."""
    x, y = (np.subtract(b, a), None) if kind == "samples" else (np.array(b), np.array(a))
    statistic = (lambda x: np.mean(x)) if kind == "samples" else (lambda x, y: np.mean(x) - np.mean(y))
    data = (x,) if kind == "samples" else (x, y)
    test = stats.permutation_test(data, statistic, permutation_type=kind, vectorized=False, n_resamples=np.inf)
    p = np.mean(np.abs(test.null_distribution) >= abs(test.statistic) - 1e-12)
    if kind == "samples" or len(a) == len(b):
        assert abs(p - test.pvalue) < 1e-12, "the same where the distribution is symmetric"
    return {"a": a, "b": b, "kind": kind, "p": p, "arrangements": len(test.null_distribution)}


def of_smallest_effect(design, n, power):
    reach = lambda effect: of_power(design, effect, n)["power"] - power
    # SciPy's noncentral distribution is NaN far out, where the power is 1.
    effect = optimize.brentq(lambda x: 1 - power if math.isnan(reach(x)) else reach(x), 1e-6, 20, xtol=1e-13)
    assert abs(reach(effect)) < 1e-9
    return {"design": design, "n": n, "power": power, "effect": effect}


P_VALUES = [[0.01, 0.04, 0.03, 0.005], [0.5], [0.9, 0.8, 0.03, 0.03, 0.2, 0.0001], [1.0, 1.0, 0.04]]


def main():
    warnings.simplefilter("error")
    cases = {
        "versions": {"scipy": scipy.__version__, "statsmodels": statsmodels.__version__, "lifelines": lifelines.__version__,
                     "numpy": np.__version__},
        "summaries": [summary(a) for a, _ in GROUPS],
        "groups": [two_groups(a, b) for a, b in GROUPS + UNEQUAL],
        "ties": [ranks_with_ties([3.0, 4.0, 4.0, 5.0], [2.0, 3.0, 3.0, 4.0]),
                 ranks_with_ties([1.0, 1.0, 2.0], [2.0, 3.0, 3.0, 1.0, 3.0]),
                 ranks_with_ties([4.0, 5.0, 99.0, 99.0, 6.0], [3.0, 4.0, 3.0, 4.0])],
        "students": [{"t": t, "df": df, "p": 2 * stats.t.sf(abs(t), df)}
                     for t in (0.001, 0.5, 1.0, 2.5, -12.0, 80.0) for df in (1, 2, 3.7, 8, 100, 5000)],
        "critical": [{"alpha": alpha, "df": df, "t": stats.t.isf(alpha / 2, df)}
                     for alpha in (0.05, 0.01, 0.001) for df in (1, 1.2, 2, 4, 7.5, 30, 1000, 19998)],
        "noncentral": [{"t": t, "df": df, "delta": delta, "p": stats.nct.cdf(t, df, delta)}
                       for t in (-2.0, 0.1, 0.4, 2.3, 9.0, 60.0) for df in (1, 2, 4, 8, 58, 2000)
                       for delta in (-3.0, 0.0, 0.8, 2.8, 8.0, 40.0)],
        "normals": [{"p": p, "z": stats.norm.ppf(p)} for p in (1e-6, 0.025, 0.3, 0.5, 0.77, 0.975, 1 - 1e-9)],
        "mcnemar": [of_mcnemar(b, c) for b, c in
                    [(0, 0), (5, 5), (3, 9), (0, 24), (12, 13), (20, 40), (101, 64), (400, 402), (25, 0)]],
        "corrections": [{"p": p, "holm": list(multipletests(p, method="holm")[1]),
                         "bh": list(multipletests(p, method="fdr_bh")[1])} for p in P_VALUES],
        "powers": [of_power(design, effect, n) for design in ("paired", "independent")
                   for effect in (0.1, 0.5, 1.2, 4.0) for n in (2, 3, 5, 20, 500)],
        "seeds": [of_seeds(design, effect, power) for design in ("paired", "independent")
                  for effect in (0.05, 0.2, 0.5, 0.8, 1.3, 2.0) for power in (0.5, 0.8, 0.95)],
        "bootstrap": of_bootstrap(),
        "survival": [survival(*groups) for groups in SURVIVAL],
        "equivalences": [of_equivalence(a, b, margin) for (a, b), margin in
                         zip(GROUPS + UNEQUAL, (0.01, 0.002, 0.3, 5.0, 0.5, 0.005, 0.01, 2.0))],
        "permutations": [of_permutation(a, b, "samples") for a, b in GROUPS if len(a) <= 12]
                        + [of_permutation(a, b, "independent") for a, b in GROUPS + UNEQUAL if len(a) <= 12]
                        + [of_permutation([1.0, 2.0, 3.0, 4.0, 5.0], [1.0, 3.0, 2.0, 6.0, 4.0], "samples"),
                           of_permutation([0.0] * 15, SIGNS, "samples")],
        # 1094 of 10,000 and 72 of 500 are the most that chance allows.
        "chances": [{"hits": k, "examples": n, "classes": c, "p": stats.binom.sf(k - 1, n, 1 / c)} for k, n, c in
                    [(1094, 10000, 10), (1095, 10000, 10), (1000, 10000, 10), (2000, 10000, 10), (72, 500, 10),
                     (73, 500, 10), (132, 10000, 100), (133, 10000, 100), (3, 4, 2), (64, 64, 4)]],
        "smallest_effects": [of_smallest_effect(design, n, power) for design in ("paired", "independent")
                             for n in (3, 5, 16, 60) for power in (0.5, 0.8, 0.9)],
    }
    # scipy has no answer far out in the tails.
    for name, key in (("noncentral", "p"), ("powers", "power")):
        cases[name] = [case for case in cases[name] if not math.isnan(case[key])]
    plain = lambda x: x.item() if isinstance(x, np.generic) else x.tolist()
    print(json.dumps(cases, default=plain, indent=1))


main()
