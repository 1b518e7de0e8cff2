"""The TIMIT phone sets and the maps between them.

TIMIT is transcribed with 61 labels. Models are trained on 48 and scored on 39, after K.-F. Lee and H.-W. Hon,
"Speaker-independent phone recognition using hidden Markov models", IEEE TASSP 37(11), 1989, Tables I and II.
The glottal stop `q` is removed in both.
"""

from __future__ import annotations

from collections.abc import Iterable

SILENCE = "sil"
GLOTTAL_STOP = "q"

# One line per phone of the 39: the phones of the 48 in it, each with the labels of the 61 in it.
_FOLDING = """
aa: aa(aa) ao(ao)
ae: ae(ae)
ah: ah(ah) ax(ax ax-h)
aw: aw(aw)
ay: ay(ay)
b: b(b)
ch: ch(ch)
d: d(d)
dh: dh(dh)
dx: dx(dx)
eh: eh(eh)
er: er(er axr)
ey: ey(ey)
f: f(f)
g: g(g)
hh: hh(hh hv)
ih: ih(ih) ix(ix)
iy: iy(iy)
jh: jh(jh)
k: k(k)
l: l(l) el(el)
m: m(m em)
n: n(n nx) en(en)
ng: ng(ng eng)
ow: ow(ow)
oy: oy(oy)
p: p(p)
r: r(r)
s: s(s)
sh: sh(sh) zh(zh)
sil: sil(h# pau) cl(pcl tcl kcl) vcl(bcl dcl gcl) epi(epi)
t: t(t)
th: th(th)
uh: uh(uh)
uw: uw(uw ux)
v: v(v)
w: w(w)
y: y(y)
z: z(z)
"""


def _parse(folding: str) -> tuple[dict[str, str], dict[str, str]]:
    to48, to39 = {}, {}
    for line in folding.strip().splitlines():
        phone39, groups = line.split(":")
        for group in groups.strip(" )").split(")"):
            phone48, labels = group.split("(")
            to39[phone48.strip()] = phone39
            to48.update((label, phone48.strip()) for label in labels.split())
    return dict(sorted(to48.items())), dict(sorted(to39.items()))


TO_48, TO_39 = _parse(_FOLDING)
"""61 labels without `q` -> 48 training phones; 48 -> 39 scored phones."""

LABELS_61 = tuple(sorted([*TO_48, GLOTTAL_STOP]))
PHONES_48 = tuple(TO_39)
PHONES_39 = tuple(sorted(set(TO_39.values())))


def fold(labels: Iterable[str]) -> list[str]:
    """Labels of the 61 as training phones of the 48: `q` goes, runs of a phone stay (as in Kaldi's recipe).

    A label outside the 61 is a KeyError; the reader has refused it with file and line by then.
    """
    return [TO_48[label] for label in labels if label != GLOTTAL_STOP]
