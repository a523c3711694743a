"""linearizability.py: was this history of concurrent operations on sites possible, if each had happened at one moment?

    begun ──────────●────── ended      an operation takes effect at one moment between its question and its answer, and every answer
        begun ──●──── ended            is right at that moment. check() looks for such moments, and says where there are none.

The search is Wing and Gong's with Lowe's changes: an operation is given its moment only when it must have one (its answer is
there), what was tried is remembered, and of operations that ask and hear the same the one that ends first comes first. Reads
and refusals have theirs as soon as they fit, because nothing can be lost by it. So the search branches over changes alone.

An operation whose answer was lost may have happened or not; until `ended`, where that is known (the program was killed then),
or at any later moment (ended is None).

Nothing here knows the gateway. Commands and answers are tuples, in the words of Sites below. Times are of one clock.
"""
import collections

# The counts of a site, in the order of its state.
KINDS = ("screened", "enrolled", "randomised", "withdrawn")
KEEP = "keep"                                  # in a PUT: left out
OK = ("ok",)


class NotLinearizable(AssertionError):
    pass


class Operation:
    __slots__ = ("begun", "ended", "command", "answer", "who")

    def __init__(self, begun, ended, command, answer, who=None):
        """`answer` None: lost. `ended` None: there is no moment after which it cannot happen."""
        assert ended is None or ended >= begun, (begun, ended)
        assert ended is not None or answer is None, "who has an answer has it at some time"
        self.begun, self.ended, self.command, self.answer, self.who = begun, ended, command, answer, who

    def __repr__(self):
        who = "" if self.who is None else f" by {self.who}"
        return f"[{self.begun}, {self.ended}] {self.command} → {self.answer or 'lost'}{who}"


# ruled: somebody has said what holds for it; until then it is new even where patients were counted.
Site = collections.namedtuple("Site", "n status cap revision ruled reservations")
# study_cap, sites: one Site for each name; elsewhere: the count of all other sites of the study.
State = collections.namedtuple("State", "study_cap elsewhere sites")


class Sites:
    """The rules, written a second time and from their documentation. Commands and the answers to them:

        ("get", site)                          ("count", n)
        ("look", site)                         ("site", what is seen: a tuple as Sites.seen gives it) or ("refused", "site_unknown")
        ("study",)                             ("count", n)
        ("change", site, kind, by)             OK or ("refused", name)
        ("put", site, status, cap, match)      OK or ("refused", name); match: None, "*", "new" (If-None-Match: *) or a revision
        ("cap", cap)                           OK; of the study
        ("reserve", site, token, amount)       OK or ("refused", name); the token is the client's word for what it got
        ("confirm" | "release", site, token)   OK or ("refused", name)
        ("expire", site, token)                nobody asks for it, so it is an operation whose answer is lost

    A refusal is right where its cause stands at that moment, and only there; of several causes any may be named.
    """

    def __init__(self, names):
        self.names = tuple(names)
        self.place = {name: i for i, name in enumerate(self.names)}

    def start(self, study_cap=None, elsewhere=0, **sites):
        """`sites`: those that are not new, as (n, status, cap, revision)."""
        new = Site((0, 0, 0, 0), "recruiting", None, 0, False, ())
        return State(study_cap, elsewhere, tuple(Site(*sites[name], True, ()) if name in sites else new for name in self.names))

    @staticmethod
    def count(site):
        return site.n[1] - site.n[3]

    @staticmethod
    def reserved(site):
        return sum(amount for _, amount in site.reservations)

    def seen(self, site):
        """What GET /sites/S shows of it."""
        return (self.count(site), *site.n, self.reserved(site), site.status, site.cap, site.revision)

    def room(self, state, site, more):
        """What forbids that the count and the reservations of a site together grow by so many."""
        causes = set()
        if site.cap is not None and self.count(site) + self.reserved(site) + more > site.cap:
            causes.add("site_cap_reached")
        if state.study_cap is not None:
            taken = state.elsewhere + sum(self.count(each) + self.reserved(each) for each in state.sites)
            if taken + more > state.study_cap:
                causes.add("study_cap_reached")
        return causes

    def with_site(self, state, site, name, changes=1, **changed):
        sites = list(state.sites)
        sites[self.place[name]] = site._replace(revision=site.revision + changes, **changed)
        return state._replace(sites=tuple(sites))

    def step(self, state, command, answer):
        """The state after it, or None: it cannot happen now, with this answer."""
        return getattr(self, "step_" + command[0])(state, answer, *command[1:])

    @staticmethod
    def outcome(state, answer, causes, after):
        if answer is None or answer == OK:
            return None if causes else after()
        return state if answer[0] == "refused" and answer[1] in causes else None

    def step_get(self, state, answer, name):
        return state if answer == ("count", self.count(state.sites[self.place[name]])) else None

    def step_look(self, state, answer, name):
        site = state.sites[self.place[name]]
        right = ("site", self.seen(site)) if site.revision else ("refused", "site_unknown")
        return state if answer == right else None

    def step_study(self, state, answer):
        return state if answer == ("count", state.elsewhere + sum(map(self.count, state.sites))) else None

    def step_change(self, state, answer, name, kind, by):
        site = state.sites[self.place[name]]
        n = tuple(value + by if KINDS[i] == kind else value for i, value in enumerate(site.n))
        before, after = self.count(site), n[1] - n[3]
        causes = set()
        if site.status == "closed":
            causes.add("site_closed")
        if site.status == "paused" and by > 0 and kind in ("screened", "enrolled"):
            causes.add("site_paused")
        if min(n) < 0 or after < 0:
            causes.add("count_below_zero")
        if after > before:
            causes |= self.room(state, site, after - before)
        return self.outcome(state, answer, causes, lambda: self.with_site(state, site, name, n=n))

    def step_put(self, state, answer, name, status, cap, match):
        site = state.sites[self.place[name]]
        causes = set()
        if match == "new" and site.revision or match == "*" and not site.revision or (
                isinstance(match, int) and match != site.revision):
            causes.add("site_changed")
        wanted = site.status if status == KEEP else status, site.cap if cap == KEEP else cap

        def after():
            # To say what stands already changes nothing, unless it is the first that is said of a site.
            if (status, cap) == (KEEP, KEEP) or (wanted == (site.status, site.cap) and site.ruled):
                return state
            return self.with_site(state, site, name, status=wanted[0], cap=wanted[1], ruled=True)
        return self.outcome(state, answer, causes, after)

    def step_cap(self, state, answer, cap):
        return self.outcome(state, answer, (), lambda: state._replace(study_cap=cap))

    def step_reserve(self, state, answer, name, token, amount):
        site = state.sites[self.place[name]]
        causes = {f"site_{site.status}"} - {"site_recruiting"} | self.room(state, site, amount)
        return self.outcome(state, answer, causes, lambda: self.with_site(
            state, site, name, ruled=True, reservations=tuple(sorted((*site.reservations, (token, amount))))))

    def without(self, site, token):
        return tuple(each for each in site.reservations if each[0] != token)

    def step_confirm(self, state, answer, name, token):
        site = state.sites[self.place[name]]
        amount = dict(site.reservations).get(token)
        if amount is None:
            return state if answer == ("refused", "reservation_unknown") else None
        n = (site.n[0], site.n[1] + amount, *site.n[2:])
        causes = {f"site_{site.status}"} - {"site_recruiting"}
        # Its place is kept for it; but a cap may have been set below what there is.
        if site.cap is not None and n[1] - n[3] > site.cap:
            causes.add("site_cap_reached")
        if state.study_cap is not None and state.elsewhere + sum(map(self.count, state.sites)) + amount > state.study_cap:
            causes.add("study_cap_reached")
        # It is a change of the reservations, and one of the count.
        return self.outcome(state, answer, causes, lambda: self.with_site(
            state, site, name, changes=2, n=n, reservations=self.without(site, token)))

    def step_release(self, state, answer, name, token):
        site = state.sites[self.place[name]]
        if token not in dict(site.reservations):
            return state if answer == ("refused", "reservation_unknown") else None
        return self.outcome(state, answer, (), lambda: self.with_site(
            state, site, name, reservations=self.without(site, token)))

    def step_expire(self, state, answer, name, token):
        site = state.sites[self.place[name]]
        if token not in dict(site.reservations):
            return None
        return self.with_site(state, site, name, reservations=self.without(site, token))


READS = ("get", "look", "study")
TRIED_MAX = 2_000_000


def check(history, model, start, tried_max=TRIED_MAX):
    """Nothing, or NotLinearizable with the operation that has no moment. Returns how many configurations were looked at."""
    # A question whose answer was lost says nothing.
    history = sorted((o for o in history if o.answer is not None or o.command[0] not in READS), key=lambda o: o.begun)
    ends = sorted((i for i, o in enumerate(history) if o.ended is not None), key=lambda i: history[i].ended)
    pending, under_way, begun = [], [], 0      # pending: of each end, what has begun and not ended before it
    for i in ends:
        # Of two that meet at one instant of the clock nobody knows which was first.
        while begun < len(history) and history[begun].begun <= history[i].ended:
            under_way.append(begun)
            begun += 1
        pending.append(tuple(under_way))
        under_way.remove(i)

    tried = set()
    stack = [(0, start, frozenset())]          # at which end, the state, what has had its moment and has not ended
    furthest, stuck = -1, set()
    while stack:
        configuration = stack.pop()
        at, state, taken = configuration
        if at == len(ends):
            return len(tried)
        if configuration in tried:
            continue
        tried.add(configuration)
        if len(tried) > tried_max:
            raise NotLinearizable(f"undecided after {tried_max} configurations, at {history[ends[furthest]]}")
        i = ends[at]
        if i in taken:
            stack.append((at + 1, state, taken - {i}))
            continue
        if at > furthest:
            furthest, stuck = at, set()
        if at == furthest and len(stuck) < 5:
            stuck.add(state)
        settled, branches = [], {}
        for j in pending[at]:
            if j in taken:
                continue
            operation = history[j]
            kind = (operation.command, operation.answer)
            # Of those alike the first to end; one without an end comes last.
            if kind in branches:
                if before(operation, history[branches[kind][0]]):
                    branches[kind] = (j, branches[kind][1])
                continue
            after = model.step(state, operation.command, operation.answer)
            if after is None:
                continue
            # Not so what was done and changed nothing: at a later moment it would change something, and that may be what was seen.
            if operation.answer is not None and operation.answer != OK:
                settled.append(j)
            elif after != state or operation.answer is not None:
                branches[kind] = (j, after)
        if settled:
            stack.append((at, state, taken.union(settled)))
            continue
        if history[i].answer is None:          # it need not have happened, and now it is too late
            stack.append((at + 1, state, taken))
        for _, (j, after) in sorted(branches.items(), key=lambda item: item[1][0] == i):
            stack.append((at, after, taken | {j}))
    if furthest < 0:
        return 0
    i = ends[furthest]
    beside = "\n  ".join(repr(history[j]) for j in pending[furthest] if j != i)
    states = "\n  ".join(map(repr, stuck))
    raise NotLinearizable(f"there is no moment for {history[i]}\nbeside it:\n  {beside}\nwhere things could have stood then:\n  {states}")


def before(one, two):
    """Whether `one` has less time left than `two`, which is asked and answered alike."""
    if one.ended is None or two.ended is None:
        return one.ended is not None
    return one.ended < two.ended


def check_each(history, model, start):
    """Sites that no cap of the study binds together are independent, and so are their histories: each alone is soon looked through."""
    assert start.study_cap is None and not any(o.command[0] in ("cap", "study") for o in history)
    looked = 0
    for i, name in enumerate(model.names):
        looked += check([o for o in history if o.command[1] == name], Sites([name]), State(None, 0, (start.sites[i],)))
    return looked
