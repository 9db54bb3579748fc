"""What scipy and statsmodels say of the numbers in gradamp's tests of statistics.

    pip install scipy statsmodels
    python reference.py > reference.json
"""

import json
import math
import warnings

import numpy as np
import scipy
import statsmodels
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower, TTestPower

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


P_VALUES = [[0.01, 0.04, 0.03, 0.005], [0.5], [0.9, 0.8, 0.03, 0.03, 0.2, 0.0001], [1.0, 1.0, 0.04]]


def main():
    warnings.simplefilter("error")
    cases = {
        "versions": {"scipy": scipy.__version__, "statsmodels": statsmodels.__version__, "numpy": np.__version__},
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
    }
    # scipy has no answer far out in the tails.
    for name, key in (("noncentral", "p"), ("powers", "power")):
        cases[name] = [case for case in cases[name] if not math.isnan(case[key])]
    plain = lambda x: x.item() if isinstance(x, np.generic) else x.tolist()
    print(json.dumps(cases, default=plain, indent=1))


main()
