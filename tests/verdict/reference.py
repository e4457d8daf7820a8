#!/usr/bin/env python3
"""The formulas of src/core/verdict to 50 digits (mpmath), each once and in the plainest form, and the vectors made with them.
Written before the Rust code and independent of it.  pip install mpmath
  python reference.py selftest                 the expected gain of every bet, added up exactly
  python reference.py gen <seed> <out.json>    vectors.json is seed 1
"""
import sys, json, random
from mpmath import mp, mpf, log, exp, sqrt
mp.dps = 50
J, ETA_START, ETA_STEP, LAG = 12, mpf(1) / 2, mpf(1) / 4, 300
PROMOTE_C = [mpf(0), mpf(1) / 8, mpf(1) / 4, mpf(1) / 2]; PROMOTE_W = [mpf(4) / 10, mpf(3) / 10, mpf(2) / 10, mpf(1) / 10]
CMP_W = [mpf(1) / 2, mpf(1) / 4, mpf(1) / 4]
NEG = mpf("-inf")
D = lambda x: mpf(repr(x)) if isinstance(x, float) else mpf(x)   # 0.01 means exactly the decimal 0.01 (f64 differs by 1e-18: harmless)

def lse(xs):
    m = max(xs)
    return m if m == NEG else m + log(sum(exp(x - m) for x in xs))

def grid(base):
    """q_1..q_12: geometric from `base` (excluded) to top=max(0.95,(1+base)/2) (included)."""
    top = max(mpf("0.95"), (1 + base) / 2)
    return [base ** (1 - mpf(j) / J) * top ** (mpf(j) / J) for j in range(1, J + 1)]

class Book:
    """Wealth of the rollback side: reserve + J bets.  State: log_reserve, log_a[J], t."""
    def __init__(s): s.lr, s.la, s.t = mpf(0), [NEG] * J, 0
    def tick(s, incr, new_step=False):
        s.t += 1
        eta = ETA_START if s.t == 1 else (ETA_STEP if new_step else 1 / mpf(s.t + LAG))
        inj = s.lr + log(eta) - log(mpf(J))
        s.la = [lse([a, inj]) + d if d != NEG else NEG for a, d in zip(s.la, incr)]
        s.lr += log(1 - eta)
        return lse([s.lr] + s.la)

def slo_incr(limit, n, k, bursty):
    out = []
    for q in grid(limit):
        if bursty: out.append(log(mpf(k) / n * q / limit + mpf(n - k) / n * (1 - q) / (1 - limit)))
        else: out.append(k * log(q / limit) + (n - k) * log((1 - q) / (1 - limit)))
    return out

def slo_block(limit, n, k): return lse([x - log(mpf(J)) for x in slo_incr(limit, n, k, False)])

def promote_log_e(limit, n, k):
    """n, k: effective (possibly fractional) totals of the current step."""
    out = []
    for c, w in zip(PROMOTE_C, PROMOTE_W):
        if c == 0 and k > 0: continue
        out.append(log(w) + (k * log(c) if k > 0 else 0) + (n - k) * log((1 - c * limit) / (1 - limit)))
    return lse(out)

def bisect(f, lo, hi):
    for _ in range(170):
        mid = (lo + hi) / 2
        if f(mid) < 0: lo = mid
        else: hi = mid
    return (lo + hi) / 2

def upper(n, k, beta):
    """sup{p: promote e-value(p) < 1/beta}; e-value is increasing in p."""
    if n - k <= 0: return mpf(1)
    return bisect(lambda p: promote_log_e(p, n, k) + log(beta), mpf(10) ** -15, 1 - mpf(10) ** -15)

def lower(n, k, alpha):
    """inf{p: rollback e-value(p) < 1/alpha}; decreasing in p on (0, k/n)."""
    if k <= 0: return mpf(0)
    g = lambda p: lse([k * log(q / p) + (n - k) * (log((1 - q) / (1 - p)) if n > k else 0) - log(mpf(J)) for q in grid(p)])
    return bisect(lambda p: -(g(p) + log(alpha)), mpf(10) ** -15, min(mpf(k) / n, 1 - mpf(10) ** -15))

def ripr(ms, mc, ts, tc, d):
    lo, hi = min(ts, tc - d), max(ts, tc - d)
    lo, hi = max(lo, mpf(10) ** -15), min(hi, 1 - d - mpf(10) ** -15)
    return bisect(lambda t: ms * (t - ts) / (t * (1 - t)) + mc * (t + d - tc) / ((t + d) * (1 - t - d)), lo, hi)

def base_rate(K, N, d): return min(max((K + mpf(1) / 2) / (N + mpf(1) / 2 / d), mpf(10) ** -6), 1 - d - mpf(10) ** -3)

def cmp_incr(d, ts, nc, kc, ns, ks, bursty, cap):
    fc, fs = mpf(kc) / nc, mpf(ks) / ns
    ms, mc = (min(mpf(ns), mpf(cap)), mpf(1)) if bursty else (mpf(ns), mpf(nc)); out = []
    for tc in grid(ts + d):
        b = ripr(ms, mc, ts, tc, d); c = b + d
        l = ms * (fs * log(ts / b) + (1 - fs) * log((1 - ts) / (1 - b)))
        if bursty: l += log(fc * tc / c + (1 - fc) * (1 - tc) / (1 - c))
        else: l += kc * log(tc / c) + (nc - kc) * log((1 - tc) / (1 - c))
        out.append(l)
    return out

def cmp_promote_incr(d, ts, nc, kc, ns, ks, phi):
    out = []
    for tc in (ts, ts + d / 2, ts / 4):
        b = ripr(mpf(ns), mpf(nc), ts, tc, d); c = b + d
        out.append((kc * log(tc / c) + (nc - kc) * log((1 - tc) / (1 - c)) + ks * log(ts / b) + (ns - ks) * log((1 - ts) / (1 - b))) / phi)
    return out

# ------------------------------------------------------------------ vectors
F = lambda x: float(x) if x != NEG else None
def slo_stream(name, limit, alpha, sampling, ticks):
    b = Book(); lw = []; at = None
    for i, t in enumerate(ticks):
        if t["total"] == 0: lw.append(lw[-1] if lw else mpf(0)); continue
        lw.append(b.tick(slo_incr(D(limit), t["total"], t["failed"], sampling == "bursty"), t.get("new_step", False)))
        if at is None and lw[-1] >= -log(D(alpha)): at = i
    return dict(name=name, limit=limit, alpha=alpha, sampling=sampling, ticks=ticks, log_wealth=[F(x) for x in lw], rollback_at=at, final_log_reserve=F(b.lr), final_log_bets=[F(x) for x in b.la])

def promote_stream(name, limit, beta, cap, ticks):
    n = k = mpf(0); le = []; at = None
    for i, t in enumerate(ticks):
        if t.get("new_step"): n = k = mpf(0)
        if t["total"]:
            phi = max(mpf(1), mpf(t["total"]) / (D(t["secs"]) * D(cap))); n += t["total"] / phi; k += t["failed"] / phi
        le.append(promote_log_e(D(limit), n, k))
        if at is None and le[-1] >= -log(D(beta)): at = i
    return dict(name=name, limit=limit, beta=beta, evidence_per_second=cap, ticks=ticks, log_e=[F(x) for x in le], ready_at=at, n_eff=F(n), k_eff=F(k), upper=F(upper(n, k, D(beta))))

def cmp_stream(name, delta, alpha, sampling, cap, ticks, beta=0.05, eps=20.0):
    b = Book(); K = N = mpf(0); d = D(delta); lw = []; tss = []; at = None; p = [mpf(0)] * 6; la = [log(w) for w in CMP_W]; pl = []; pat = None
    pend = [0, 0, 0, 0, mpf(0)]; step = False
    for i, t in enumerate(ticks):
        if t.get("new_step"): step = True; la = [log(w) for w in CMP_W]
        for z, key in enumerate(("canary_total", "canary_failed", "stable_total", "stable_failed")): pend[z] += t[key]
        pend[4] += D(t["secs"])
        if pend[0] == 0 or pend[2] == 0:
            lw.append(lw[-1] if lw else mpf(0)); pl.append(lse(la)); tss.append(None); continue
        ts = base_rate(K, N, d); nc, kc, ns, ks, secs = pend
        lw.append(b.tick(cmp_incr(d, ts, nc, kc, ns, ks, sampling == "bursty", cap), step))
        phi = max(mpf(1), mpf(nc) / (secs * D(eps)))
        la = [x + y for x, y in zip(la, cmp_promote_incr(d, ts, nc, kc, ns, ks, phi))]
        pl.append(lse(la)); tss.append(F(ts)); K += ks; N += ns; pend = [0, 0, 0, 0, mpf(0)]; step = False
        if at is None and lw[-1] >= -log(D(alpha)): at = i
        if pat is None and pl[-1] >= -log(D(beta)): pat = i
    return dict(name=name, allowed_increase=delta, alpha=alpha, beta=beta, sampling=sampling, stable_cap=cap, evidence_per_second=eps, ticks=ticks,
                stable_rate_used=tss, log_wealth=[F(x) for x in lw], rollback_at=at, promote_log_e=[F(x) for x in pl], promote_ready_at=pat)

def verdict_stream(name, checks, alpha, beta, min_hold, max_hold, no_data_after, ticks, cap=1.0):
    """checks: list of SLO limits (equal weights).  ticks: secs, new_step?, samples:[[total,failed],...] one pair per check."""
    m = len(checks); books = [Book() for _ in checks]; lw = [mpf(0)] * m; eff = [[mpf(0), mpf(0)] for _ in checks]; el = idle = mpf(0); latched = False; V = []; comb = []; pend = [False] * m
    for t in ticks:
        if t.get("new_step"): el = mpf(0); idle = mpf(0); eff = [[mpf(0), mpf(0)] for _ in checks]; pend = [True] * m
        secs = D(t["secs"]); el += secs; idle = mpf(0) if any(n for n, _ in t["samples"]) else idle + secs
        for i, (n, k) in enumerate(t["samples"]):
            if n == 0: continue
            lw[i] = books[i].tick(slo_incr(D(checks[i]), n, k, True), pend[i]); pend[i] = False
            phi = max(mpf(1), n / (secs * D(cap))); eff[i][0] += n / phi; eff[i][1] += k / phi
        w = lse([x - log(mpf(m)) for x in lw]); comb.append(F(w)); thr = -log(D(alpha)); latched = latched or w >= thr
        ready = all(promote_log_e(D(l), *e) >= -log(D(beta)) for l, e in zip(checks, eff))
        V.append("rollback" if latched else "no-data" if idle >= no_data_after else "watch" if w >= thr / 2 else "promote" if ready and el >= min_hold else "hold-elapsed" if el >= max_hold else "wait")
    return dict(name=name, limits=checks, alpha=alpha, beta=beta, min_hold=min_hold, max_hold=max_hold, no_data_after=no_data_after, evidence_per_second=cap, sampling="bursty", ticks=ticks, log_wealth=comb, verdict=V)

def gen(seed, out):
    r = random.Random(seed); bern = lambda n, p: sum(r.random() < p for _ in range(n))
    V = dict(meta=dict(about="Stepgate verdict engine reference vectors. Natural logs. Compare with |a-b| <= 1e-9*max(1,|b|). null log = -infinity (impossible bet).",
        constants=dict(bets=J, top="max(0.95,(1+base)/2)", eta_start=0.5, eta_step=0.25, lag=LAG, promote_c=[0, .125, .25, .5], promote_w=[.4, .3, .2, .1], compare_promote_w=[.5, .25, .25])))
    lim = [0.001, 0.005, 0.01, 0.05, 0.1, 0.3] if seed == 1 else [round(r.uniform(.0005, .02), 5), 0.01, round(r.uniform(.02, .4), 4), 0.05, 0.93]
    V["grid"] = [dict(base=l, q=[F(q) for q in grid(D(l))]) for l in lim]
    blk = []
    for l in lim:
        for _ in range(5):
            n = r.choice([1, 2, 7, 60, 999, 12345, 180000]); k = min(n, r.choice([0, 1, 2, n, bern(min(n, 2000), l), int(n * l * 2)])); blk.append(dict(limit=l, n=n, k=k, log_e=F(slo_block(D(l), n, k))))
    V["slo_block"] = blk
    V["promote_block"] = [dict(limit=l, n_eff=n, k_eff=k, log_e=F(promote_log_e(D(l), D(n), D(k)))) for l in lim for n, k in [(0, 0), (r.randint(1, 400), 0), (r.randint(300, 3000), r.randint(1, 4)), (round(r.uniform(10, 500), 3), round(r.uniform(.01, 3), 4))]]
    bd = []
    for n, k in [(1, 0), (1, 1), (r.randint(2, 30), 2), (r.randint(100, 400), 0), (r.randint(100, 999), r.randint(1, 9)), (r.randint(2000, 9000), r.randint(1, 99)), (r.randint(20, 40), 20), (100000, r.randint(0, 200))]:
        for a, b in ((.01, .05), (.001, .01)): bd.append(dict(n=n, k=k, alpha=a, beta=b, lower=F(lower(n, k, D(a))), upper=F(upper(n, k, D(b)))))
    V["bounds"] = bd
    def ticks(T, n, ps, steps=()): return [dict(total=(m := n() if callable(n) else n), failed=bern(m, ps(i) if callable(ps) else ps), **(dict(new_step=True) if i in steps else {})) for i in range(T)]
    w = lambda a, b: (lambda: r.choice([0, a, r.randint(a, b), b]))
    S = []
    for samp in ("bursty", "independent"):
        S += [slo_stream(f"{samp}: total outage", .01, .01, samp, ticks(6, 5, 1.0)), slo_stream(f"{samp}: clean", .01, .01, samp, ticks(40, 5, 0.0)),
              slo_stream(f"{samp}: single probes", .01, .01, samp, ticks(40, 1, .2)), slo_stream(f"{samp}: at the limit", .01, .01, samp, ticks(60, 50, .01)),
              slo_stream(f"{samp}: late regression, irregular traffic, zero-traffic ticks, steps", .01, .01, samp, ticks(70, w(1, 60), lambda i: .002 if i < 40 else .25, (20, 40))),
              slo_stream(f"{samp}: p95 latency (limit 5%)", .05, .001, samp, ticks(50, 20, lambda i: .02 if i < 25 else .15, (25,)))]
    V["slo_stream"] = S
    pt = lambda T, n, p, s, st=(): [dict(t, secs=s) for t in ticks(T, n, p, st)]
    V["promote_stream"] = [promote_stream("1/s clean", .01, .05, 1.0, pt(80, 5, 0.0, 5.0)), promote_stream("100/s, cap 1/s", .05, .05, 1.0, pt(40, 500, .002, 5.0)),
                           promote_stream("few failures, then new step", .05, .01, 1.0, pt(60, 5, .01, 5.0, (30,))), promote_stream("uncapped", .01, .05, 1e9, pt(20, w(5, 90), .001, 5.0)),
                           promote_stream("slow probes", .1, .05, 1.0, pt(50, w(1, 2), .02, 15.0))]
    V["ripr"] = [dict(m_stable=ms, m_canary=mc, theta_s=ts, theta_c=tc, delta=d, theta_s0=F(ripr(D(ms), D(mc), D(ts), D(tc), D(d)))) for ms, mc, ts, tc, d in
                 [(1, 1, .001, .2, .005), (20, 1, .001, .2, .005), (900, 100, .01, .95, .005), (9, 1, 1e-6, .02, .01), (45, 5, .01, .01, .005), (45, 5, .001, .00025, .01), (r.randint(1, 99), r.randint(1, 9), round(r.uniform(.001, .05), 4), round(r.uniform(.1, .9), 3), .005)]]
    ct = lambda T, nc, pc, ns, ps, st=(): [dict(canary_total=a["total"], canary_failed=a["failed"], stable_total=b["total"], stable_failed=b["failed"], secs=5.0, **({"new_step": True} if i in st else {})) for i, (a, b) in enumerate(zip(ticks(T, nc, pc), ticks(T, ns, ps)))]
    C = []
    for samp in ("bursty", "independent"):
        C += [cmp_stream(f"{samp}: outage", .005, .01, samp, 20, ct(8, 5, 1.0, 45, .001)), cmp_stream(f"{samp}: equal", .005, .01, samp, 20, ct(30, 5, .01, 45, .01)),
              cmp_stream(f"{samp}: shared incident", .005, .01, samp, 20, ct(30, 50, lambda i: .1 if 10 <= i < 20 else .001, 450, lambda i: .1 if 10 <= i < 20 else .001)),
              cmp_stream(f"{samp}: +20% from tick 15, gaps, steps", .005, .01, samp, 20, ct(40, w(1, 30), lambda i: .002 if i < 15 else .2, w(1, 300), .002, (15, 30))),
              cmp_stream(f"{samp}: clean, promotes", .02, .01, samp, 20, ct(30, 50, .001, 450, .001, (12,))),
              cmp_stream(f"{samp}: 1:1 probes", .01, .01, samp, 20, ct(40, 1, .15, 1, .0))]
    V["compare_stream"] = C
    vt = lambda T, fs, ps, steps=(), secs=5.0: [dict(secs=secs, samples=[[(m := n() if callable(n) else n), bern(m, p(i))] for n, p in zip(fs, ps)], **({"new_step": True} if i in steps else {})) for i in range(T)]
    z = lambda a, b: (lambda i: 0.0 if not (a <= i < b) else 1.0)
    V["verdict_stream"] = [
        verdict_stream("clean, evidence promotes after minHold", [.05], .01, .05, 60, 300, 60, vt(30, [5], [lambda i: 0.0])),
        verdict_stream("too little evidence, hold elapses, next step", [.01], .01, .05, 30, 100, 60, vt(45, [5], [lambda i: .001], (20,))),
        verdict_stream("one failed tick -> watch, recovers", [.01], .01, .05, 30, 100, 60, vt(40, [5], [z(0, 1)])),
        verdict_stream("outage starts at a step boundary", [.01], .01, .05, 30, 600, 60, vt(30, [50], [z(20, 30)], (20,))),
        verdict_stream("traffic stops", [.05], .01, .05, 30, 600, 60, [dict(t, samples=[[0, 0]]) if 5 <= i < 20 else t for i, t in enumerate(vt(30, [5], [lambda i: .01]))]),
        verdict_stream("availability fine, latency regresses in step 2", [.01, .05], .01, .05, 60, 600, 60, vt(50, [40, 40], [lambda i: .001, lambda i: .02 if i < 25 else .3], (25,)))]
    cb = []
    for _ in range(4):
        m = r.randint(1, 4); ws = [round(1 / m, 6)] * m; ls = [round(r.uniform(-30, 8), 6) for _ in range(m)]; cb.append(dict(weights=ws, log_e=ls, combined=F(lse([log(D(a)) + D(b) for a, b in zip(ws, ls)]))))
    V["combine"] = cb
    json.dump(V, open(out, "w"), indent=None, separators=(",", ":")); print(out, sum(len(v) for v in V.values() if isinstance(v, list)), "cases")

def selftest():
    from mpmath import binomial
    worst = mpf(0)
    # 1. one-tick SLO e-values have expectation <= 1 for every p <= limit (bursty: any distribution of f, by linearity)
    for l in (mpf("0.01"), mpf("0.3")):
        for p in (l, l / 2, mpf(0)):
            for n in (1, 5, 20):
                for bursty in (True, False):
                    e = sum(binomial(n, k) * p ** k * (1 - p) ** (n - k) * sum(exp(x) for x in slo_incr(l, n, k, bursty)) / J for k in range(n + 1)); worst = max(worst, e)
    print("max E[e | p<=limit] =", mp.nstr(worst, 12)); assert worst <= 1 + mpf(10) ** -30
    # 2. promotion e-value: E <= 1 for every p >= limit
    worst = mpf(0)
    for p in (mpf("0.05"), mpf("0.06"), mpf("0.5")):
        for n in (1, 10, 60): worst = max(worst, sum(binomial(n, k) * p ** k * (1 - p) ** (n - k) * exp(promote_log_e(mpf("0.05"), n, k)) for k in range(n + 1)))
    print("max E[promote e | p>=limit] =", mp.nstr(worst, 12)); assert worst <= 1 + mpf(10) ** -30
    # 3. comparison: E <= 1 for every (ps, pc) with pc <= ps + d, whatever theta_s* is
    worst = mpf(0); wp = mpf(0); d = mpf("0.005")
    for ts in (mpf("0.001"), mpf("0.05")):
        for (nc, ns) in ((1, 1), (2, 6), (5, 12)):
            for bursty in (True, False):
                tab = {(kc, ks): [exp(x) for x in cmp_incr(d, ts, nc, kc, ns, ks, bursty, 8)] for kc in range(nc + 1) for ks in range(ns + 1)}
                prm = {(kc, ks): [exp(x) for x in cmp_promote_incr(d, ts, nc, kc, ns, ks, mpf(1))] for kc in range(nc + 1) for ks in range(ns + 1)}
                for ps in [mpf(0), mpf("0.0005"), mpf("0.002"), mpf("0.01"), mpf("0.05"), mpf("0.1"), mpf("0.3"), mpf("0.6"), mpf("0.9")]:
                    for off in (d, mpf(0)):
                        pc = ps + off; E = [mpf(0)] * J; P = [mpf(0)] * 3
                        for (kc, ks), es in tab.items():
                            pr = binomial(nc, kc) * pc ** kc * (1 - pc) ** (nc - kc) * binomial(ns, ks) * ps ** ks * (1 - ps) ** (ns - ks)
                            for j in range(J): E[j] += pr * es[j]
                            if off == d:
                                for j in range(3): P[j] += pr * prm[kc, ks][j]
                        worst = max(worst, max(E)); wp = max(wp, max(P))
                        if bursty and nc == 5:   # all-or-nothing correlated canary tick
                            E = [sum((pc if kc else 1 - pc) * binomial(ns, ks) * ps ** ks * (1 - ps) ** (ns - ks) * tab[kc, ks][j] for kc in (0, nc) for ks in range(ns + 1)) for j in range(J)]; worst = max(worst, max(E))
    print("max E[compare e | pc<=ps+d] =", mp.nstr(worst, 12), " promote, pc=ps+d:", mp.nstr(wp, 12)); assert worst <= 1 + mpf(10) ** -12 and wp <= 1 + mpf(10) ** -12
    # 4. monotonicity behind the bounds, and promote <=> upper < limit
    for n, k in ((50, 3), (334, 0), (1000, 30)):
        U, L = upper(n, k, mpf("0.05")), lower(n, k, mpf("0.01")); print(n, k, "bounds", mp.nstr(L, 8), mp.nstr(U, 8)); assert L <= mpf(k) / n <= U
        xs = [mpf(i) / 400 for i in range(1, 400)]; up = [promote_log_e(x, n, k) for x in xs]; assert all(a <= b for a, b in zip(up, up[1:]))
        if k:
            xs = [mpf(k) / n * i / 100 for i in range(1, 101)]; lo = [slo_block(x, n, k) for x in xs]; assert all(a >= b for a, b in zip(lo, lo[1:]))
    assert promote_log_e(mpf("0.01"), 334, 0) >= log(20) > promote_log_e(mpf("0.01"), 333, 0) and upper(334, 0, mpf("0.05")) < mpf("0.01") < upper(333, 0, mpf("0.05"))
    print("selftest ok")

if __name__ == "__main__":
    if sys.argv[1] == "selftest": selftest()
    else: gen(int(sys.argv[2]), sys.argv[3])
