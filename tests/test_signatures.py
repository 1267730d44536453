"""``help`` and tab completion tell every setting and option, and what they tell is taken."""

import inspect

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell

import dqroute as dq
from dqroute.data import DATA_SETS
from dqroute.data.options import tell_options
from dqroute.training.settings import setting_names


def taken(function):
    return {p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY}


def test_fit_tells_every_setting_and_every_methods_options():
    options = {name for method in dq.METHODS for name in dq.method_options(method)}
    own = {"seed", "preset", "runs_dir", "device", "compile", "checkpoint_minutes", "progress"}
    assert taken(dq.fit) >= own | set(setting_names()) | options
    told = inspect.signature(dq.fit).parameters
    assert list(told)[:2] == ["method", "data"] and list(told)[-1] == "changes"
    assert told["alpha"].default == 0.5 and told["lr"].default is None


def test_what_fit_tells_it_takes(tiny, runs_dir, quick):
    told = inspect.signature(dq.fit).parameters
    given = {name: told[name].default for name in [*setting_names(), *dq.method_options("dqroute")]}
    given = {name: default for name, default in given.items() if default is not ...}
    run = dq.fit("dqroute", tiny, runs_dir=runs_dir, **given | quick | {"epochs": 1})
    assert run.folder == dq.fit("dqroute", tiny, epochs=1, runs_dir=runs_dir, **quick).folder


def test_load_tells_every_sets_options():
    options = {name for function in DATA_SETS.values() for name in inspect.signature(function).parameters}
    assert taken(dq.load) >= options | {"backbone", "components", "views"}


@pytest.mark.parametrize("jedi", [True, False])
@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("dq.fit('dqroute', data, weight_d", "weight_decay="),
        ("dq.fit('dqroute', data, alp", "alpha="),
        ("dq.load('glyphs', n_m", "n_max="),
    ],
)
def test_a_notebook_completes_them(code, wanted, jedi):
    shell = InteractiveShell.instance()
    shell.user_ns["dq"], shell.Completer.use_jedi = dq, jedi
    with provisionalcompleter():
        assert wanted in [completion.text for completion in shell.Completer.completions(code, len(code))]


def test_an_option_with_two_defaults_is_shown_with_neither():
    def one(*, a=1, b=2): ...
    def other(*, b=3, c=4): ...
    def function(x, *, c=0, **options): ...

    tell_options(function, [p for f in (one, other) for p in inspect.signature(f).parameters.values()])
    assert str(inspect.signature(function)) == "(x, *, c=0, a=1, b=Ellipsis, **options)"
