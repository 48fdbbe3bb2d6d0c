"""Reading a nebula's files, without a server."""

import os
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from board_client.cli.failure import BadInput
from board_client.cli.nebula import board_name, needed_by, read_nebula

NEBULAS = Path(__file__).parent.parent / "fixtures" / "nebulas"


def write(directory, toml='[nebula]\nname = "n"\n', **files):
    """Make a nebula: each keyword names a file, and its value is the content."""
    for old in directory.glob("*.md"):
        old.unlink()
    (directory / "nebula.toml").write_text(toml)
    for name, content in files.items():
        data = content if isinstance(content, bytes) else content.encode()
        (directory / f"{name}.md").write_bytes(data)
    return directory


def phase(phase_id, *depends_on):
    depends = ", ".join(f'"{each}"' for each in depends_on)
    return f'+++\nid = "{phase_id}"\ndepends_on = [{depends}]\n+++\nDo it.\n'


def problems(directory):
    """Return the problems of a nebula in order: file, line and text of each."""
    with pytest.raises(BadInput) as refused:
        read_nebula(directory)
    return [
        (str(Path(p.path).relative_to(directory)), p.line, p.text) for p in refused.value.problems
    ]


def places(directory):
    return [(name, line) for name, line, _ in problems(directory)]


def test_a_nebula_has_its_name_and_its_phases_in_the_order_of_their_files():
    nebula = read_nebula(NEBULAS / "contract-board")
    assert nebula.name == "contract-board"
    assert [p.phase_id for p in nebula.phases] == [
        "board-store",
        "contract-model",
        "contract-publisher",
        "polling-state",
        "poll-prompt",
        "pushback-handler",
        "worker-integration",
        "integration-tests",
    ]
    assert nebula.phases[4].depends_on == ("contract-model", "polling-state")


def test_dependencies_are_listed_from_near_to_far(tmp_path):
    write(tmp_path, a=phase("a"), b=phase("b", "a"), c=phase("c", "b", "a", "d"), d=phase("d", "a"))
    nebula = read_nebula(tmp_path)
    assert needed_by(nebula, "a") == []
    assert needed_by(nebula, "c") == ["b", "a", "d"]
    with pytest.raises(KeyError):
        needed_by(nebula, "e")


def test_a_nebula_whose_name_is_not_a_valid_board_name_is_read():
    nebula = read_nebula(NEBULAS / "dag-engine")
    assert nebula.name == "DAG Task Engine"
    assert board_name(nebula.name) == "DAG-Task-Engine"
    assert len(nebula.phases) == 5


def test_a_head_may_have_no_dependencies_and_crlf_line_ends(tmp_path):
    write(tmp_path, a=b'\xef\xbb\xbf+++\r\nid = "a"\r\nscope = [\r\n  "x",\r\n]\r\n+++  \r\n')
    (only,) = read_nebula(tmp_path).phases
    assert (only.phase_id, only.depends_on) == ("a", ())


@pytest.mark.parametrize(
    ("content", "line"),
    [
        pytest.param("", 1, id="empty file"),
        pytest.param("# A title\n", 1, id="no head"),
        pytest.param('+++\nid = "a"\n', 1, id="head without end"),
        pytest.param("+++\n+++\n", 1, id="no id"),
        pytest.param('+++\ntitle = "t"\n+++\n', 1, id="no id beside others"),
        pytest.param('+++\ntitle = "t"\nid = ""\n+++\n', 3, id="empty id"),
        pytest.param('+++\nid = 7\ntitle = "t"\n+++\n', 2, id="id is a number"),
        pytest.param('+++\nid = "a\\nb"\n+++\n', 2, id="id with a line break"),
        pytest.param(f'+++\nid = "{"é" * 129}"\n+++\n', 2, id="id of more than 256 bytes"),
        pytest.param('+++\nid = "a"\ndepends_on = "b"\n+++\n', 3, id="depends_on is a string"),
        pytest.param('+++\nid = "a"\ndepends_on = [1]\n+++\n', 3, id="depends_on has a number"),
        pytest.param('+++\nid = "a"\n\ntitle = unquoted\n+++\n', 4, id="value without quotes"),
        pytest.param('+++\nid = "a"\nid = "b"\n+++\n', 3, id="the same key twice"),
        pytest.param('+++\nid = "a"\nscope = [\n  "x",\n', 1, id="no end after an open array"),
        pytest.param('+++\nid = "a"\nscope = [\n  "x",\n+++\n', 3, id="array without end"),
        pytest.param('+++\nid = "a"\nscope = [\n  x,\n]\n+++\n', 3, id="wrong within an array"),
        pytest.param('+++\nid = "a"\nt = """\nx\n+++\n', 3, id="text without end"),
        pytest.param("+++\nid = " + "[" * 5000 + "\n+++\n", 2, id="nested too deep"),
        pytest.param(f'+++\nid = "a"\nn = {"9" * 5000}\n+++\n', 3, id="integer too long"),
        pytest.param(b'+++\nid = "a"\ntitle = "\xff"\n+++\n', 3, id="not UTF-8"),
    ],
)
def test_a_malformed_phase_file_is_reported_with_its_line(tmp_path, content, line):
    assert places(write(tmp_path, ok=phase("ok"), wrong=content)) == [("wrong.md", line)]


@pytest.mark.parametrize("last", ['id = "a"', "id = a", "id = 7"])
@pytest.mark.parametrize(
    "lines", [[f'k{n} = "v"' for n in range(1600)], ["x = [", *1600 * ["  1,"], "]"]]
)
def test_a_long_head_is_parsed_a_few_times_and_not_once_for_each_line(
    tmp_path, monkeypatch, lines, last
):
    texts = []
    loads = tomllib.loads
    monkeypatch.setattr(tomllib, "loads", lambda text: texts.append(text) or loads(text))
    write(tmp_path, a="\n".join(["+++", *lines, last, "+++\n"]))
    if last == 'id = "a"':
        assert read_nebula(tmp_path).phases[0].phase_id == "a"
    else:
        assert places(tmp_path) == [("a.md", 2 + len(lines))]
    assert len(texts) < 40


def test_the_parsers_messages_count_lines_from_the_top_of_the_file(tmp_path):
    write(tmp_path, a='+++\nid = "a"\ntitle = unquoted\n+++\n')
    ((_, _, text),) = problems(tmp_path)
    assert "line 3" in text


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        pytest.param("", 1, id="empty"),
        pytest.param('[nebula]\ndescription = "d"\n', 1, id="no name"),
        pytest.param("# plan\n\n[nebula]\nname = 3\n", 4, id="name is a number"),
        pytest.param('# plan\n[nebula]\n\nname = ""\n', 4, id="empty name"),
        pytest.param("nebula = 1\n", 1, id="nebula is no table"),
        pytest.param('[nebula]\nname = "n"\n[defaults\n', 3, id="not TOML"),
    ],
)
def test_a_malformed_nebula_file_is_reported_with_its_line(tmp_path, toml, line):
    assert places(write(tmp_path, toml=toml, a=phase("a"))) == [("nebula.toml", line)]


def test_all_problems_are_reported_at_once_in_the_order_of_the_files(tmp_path):
    write(
        tmp_path,
        toml="",
        a=phase("a", "nowhere", "else"),
        b=phase("b", "c"),
        c=phase("c", "b"),
        d=phase("a"),
    )
    assert problems(tmp_path) == [
        ("a.md", 3, 'depends_on names "nowhere", and no phase has that id'),
        ("a.md", 3, 'depends_on names "else", and no phase has that id'),
        ("b.md", 3, "dependency cycle: b -> c -> b"),
        ("d.md", 2, 'id "a" is that of a.md already'),
        ("nebula.toml", 1, "the nebula's name is missing: [nebula] name"),
    ]


def test_a_dependency_is_not_called_unknown_if_a_file_cannot_be_read(tmp_path):
    write(tmp_path, a=phase("a", "b"), b='+++\nid = "b"\ntitle = \n+++\n')
    assert places(tmp_path) == [("b.md", 3)]


def test_every_separate_cycle_is_reported(tmp_path):
    write(tmp_path, a=phase("a", "a"), b=phase("b", "c"), c=phase("c", "b"), d=phase("d", "b"))
    assert [text for _, _, text in problems(tmp_path)] == [
        "dependency cycle: a -> a",
        "dependency cycle: b -> c -> b",
    ]


def test_a_directory_without_phases_is_no_nebula(tmp_path):
    assert places(write(tmp_path)) == [(".", 0)]


def test_a_directory_that_does_not_exist_is_reported(tmp_path):
    with pytest.raises(BadInput, match="No such file or directory"):
        read_nebula(tmp_path / "nowhere")


def test_hidden_files_are_no_phases(tmp_path):
    write(tmp_path, a=phase("a"), **{".#a": "an editor's lock"})
    assert len(read_nebula(tmp_path).phases) == 1


GOOD = st.sampled_from(
    ["", "# a remark", 'k{} = "v"', "k{} = [\n  1,\n\n  2,\n]", 'k{} = """\n+\n\n"""', "[t{}]"]
)
BAD = st.sampled_from(["x", "x =", 'x = "v', "x = [1\n2]", "[x", "x = 1 y = 2", "x = [\n1,"])


@given(st.lists(GOOD, max_size=8), BAD, st.lists(GOOD, max_size=4))
def test_an_error_is_reported_on_the_first_line_of_its_statement(tmp_path, before, bad, after):
    above = [text.format(number) for number, text in enumerate(before)]
    below = [text.format(number + 100) for number, text in enumerate(after)]
    head = "\n".join(['id = "a"', *above, bad, *below])
    line = 3 + sum(text.count("\n") + 1 for text in above)
    assert places(write(tmp_path, a=f"+++\n{head}\n+++\n")) == [("a.md", line)]


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
@example(b"\r")
@example(b'id = "a"\r')
def test_any_head_is_read_or_refused_with_a_line_of_its_file(tmp_path, head):
    content = b"+++\n" + head + b"\n+++\n"
    write(tmp_path, a=content)
    try:
        read_nebula(tmp_path)
    except BadInput as refused:
        for problem in refused.problems:
            assert problem.path == tmp_path / "a.md"
            assert 1 <= problem.line <= content.count(b"\n")
    else:
        assert "id" in tomllib.loads((head + b"\n").decode().partition("\n+++")[0])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=10))
def test_a_plan_is_refused_exactly_when_a_phase_waits_for_itself(tmp_path, edges):
    waits = {at: sorted({to for frm, to in edges if frm == at}) for at in range(5)}
    write(tmp_path, **{f"p{at}": phase(f"p{at}", *(f"p{to}" for to in waits[at])) for at in waits})

    def reached(at, seen):
        for to in waits[at]:
            if to not in seen:
                seen.add(to)
                reached(to, seen)
        return seen

    if any(at in reached(at, set()) for at in waits):
        for _, _, text in problems(tmp_path):
            chain = [int(at) for at in re.findall(r"p(\d)", text)]
            assert chain[0] == chain[-1]
            assert all(to in waits[at] for at, to in pairwise(chain))
    else:
        assert len(read_nebula(tmp_path).phases) == 5


@given(st.text() | st.text("aB9-._ /(é", max_size=200))
def test_a_board_name_made_of_a_nebulas_name_is_one_that_a_board_may_have(name):
    made = board_name(name)
    assert made == "" or re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", made)
    assert bool(made) == bool(re.search("[A-Za-z0-9]", name))


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True))
def test_a_name_that_a_board_may_have_stays(name):
    assert board_name(name) == name


def test_each_run_of_other_characters_becomes_one_hyphen():
    assert board_name("DAG  Task / Engine (2)") == "DAG-Task-Engine-2"
    assert board_name("日本") == ""


@pytest.mark.parametrize("name", ["nebula.toml", "p.md"])
@pytest.mark.parametrize("put", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_file_that_is_not_regular_is_refused_at_once(tmp_path, name, put):
    write(tmp_path, p=phase("p"))
    (tmp_path / name).unlink()
    put(tmp_path / name)
    assert problems(tmp_path) == [(name, 0, "is not a regular file")]
