"""Each rule of this folder finds the fault it is there for: a rule that cannot fail is no rule."""

import pathlib
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
GOOD_HEADER = "extern const struct reason WS_BAD;   /* given when it is bad */\n"
GOOD_SOURCE = 'const struct reason WS_BAD = {"ws_bad", "the frame is bad"};\n'
VERDICT = "{ &WS_BAD, 400 },\n"


class Rules(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = pathlib.Path(directory.name) / "tree"
        self.root.mkdir()

    def write(self, **files):
        for name, text in files.items():
            path = self.root / name.replace("__", "/").replace("_dot_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    def run_rule(self, rule, *arguments):
        done = subprocess.run(
            [sys.executable, "-B", HERE / f"{rule}.py", *(arguments or [self.root])], capture_output=True, text=True
        )
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout

    def refuses(self, rule, *words):
        status, said = self.run_rule(rule)
        self.assertEqual(status, 1, said)
        for word in words:
            self.assertIn(word, said)

    def accepts(self, rule):
        status, said = self.run_rule(rule)
        self.assertEqual(status, 0, said)

    def test_layers_accepts_what_is_allowed(self):
        self.write(ring__a_dot_h="", ws__b_dot_c='#include "ring/a.h"\n#include <stdio.h>\n')
        self.accepts("layers")

    def test_layers_refuses_a_call_upwards(self):
        self.write(ws__b_dot_h="", ring__a_dot_c='#include "ws/b.h"\n')
        self.refuses("layers", "ring/a.c:1", "may not include")

    def test_layers_refuses_cache_that_uses_ring(self):
        self.write(ring__a_dot_h="", cache__c_dot_c='\n#include "ring/a.h"\n')
        self.refuses("layers", "cache/c.c:2")

    def test_layers_refuses_liburing_outside_the_kernel(self):
        self.write(ring__op_dot_c="#include <liburing.h>\n", ring__kernel_dot_c="#include <liburing.h>\n")
        self.refuses("layers", "ring/op.c:1")
        self.assertNotIn("ring/kernel.c:", self.run_rule("layers")[1])

    def test_layers_refuses_a_neighbour_by_its_bare_name(self):
        self.write(ring__a_dot_h="", ring__a_dot_c='#include "a.h"\n')
        self.refuses("layers", "not written from the root")

    def test_layers_refuses_an_empty_tree(self):
        self.refuses("layers", "no source")

    def test_reasons_accepts_a_whole_reason(self):
        self.write(ws__reason_dot_h=GOOD_HEADER, ws__reason_dot_c=GOOD_SOURCE, gateway__verdict_dot_c=VERDICT)
        self.accepts("reasons")

    def test_reasons_accepts_a_group_under_one_comment(self):
        self.write(
            ws__reason_dot_h="/* bad ones */\n" + "".join(f"extern const struct reason WS_{n};\n" for n in "AB"),
            ws__reason_dot_c="#define REASON(constant, name, sentence) const struct reason constant = { name, sentence }\n"
            'REASON(WS_A, "ws_a", "the frame "\n\t"is bad");\nREASON(WS_B, "ws_b", "it is worse");\n',
            gateway__verdict_dot_c="{ &WS_A }, { &WS_B }",
        )
        self.accepts("reasons")

    def test_reasons_refuses_one_without_a_verdict(self):
        self.write(
            ws__reason_dot_h=GOOD_HEADER, ws__reason_dot_c=GOOD_SOURCE, gateway__verdict_dot_c="/* &WS_BAD */\n"
        )
        self.refuses("reasons", "WS_BAD has no verdict")

    def test_reasons_refuses_two_definitions(self):
        self.write(ws__a_dot_h=GOOD_HEADER, ws__a_dot_c=GOOD_SOURCE, ws__b_dot_c=GOOD_SOURCE)
        self.refuses("reasons", "defined more than once")

    def test_reasons_refuses_two_declarations(self):
        self.write(ws__a_dot_h=GOOD_HEADER, ws__b_dot_h=GOOD_HEADER, ws__b_dot_c=GOOD_SOURCE)
        self.refuses("reasons", "declared more than once")

    def test_reasons_refuses_one_that_is_not_defined(self):
        self.write(ws__a_dot_h=GOOD_HEADER)
        self.refuses("reasons", "nowhere defined")

    def test_reasons_refuses_one_that_is_not_declared(self):
        self.write(ws__a_dot_c=GOOD_SOURCE)
        self.refuses("reasons", "declared in no header")

    def test_reasons_refuses_one_without_a_comment(self):
        self.write(ws__a_dot_h="\nextern const struct reason WS_BAD;\n", ws__a_dot_c=GOOD_SOURCE)
        self.refuses("reasons", "no comment")

    def test_reasons_refuses_one_without_a_sentence(self):
        self.write(ws__a_dot_h=GOOD_HEADER, ws__a_dot_c='const struct reason WS_BAD = { "ws_bad", "bad" };\n')
        self.refuses("reasons", "a few words for a person")

    def test_reasons_refuses_a_name_used_twice(self):
        self.write(
            ws__a_dot_h=GOOD_HEADER + GOOD_HEADER.replace("BAD", "EVIL"),
            ws__a_dot_c=GOOD_SOURCE + GOOD_SOURCE.replace("BAD", "EVIL"),
        )
        self.refuses("reasons", "more than one reason")

    def test_words_refuses_paths_and_hosts(self):
        self.write(a_dot_md="see /" + "home/someone/tree\n", b_dot_md="from deb." + "debian.org\n", c_dot_md="fine\n")
        self.refuses("words", "a.md:1: a path", "b.md:1: the host")

    def test_words_accepts_a_tree_that_speaks_of_itself(self):
        self.write(a_dot_md="see tools/work and rooted/home, GET /homepage, /rootless, /workers\n")
        self.accepts("words")

    def compile(self, text):
        self.write(g_dot_c=text)
        for command in (["cc", "-c", "g.c", "-o", "g.o"], ["ar", "rcs", "libg.a", "g.o"]):
            subprocess.run(command, cwd=self.root, check=True)
        return self.run_rule("globals", str(self.root / "libg.a"))

    def test_globals_finds_every_kind_of_writable_data(self):
        for text in (
            "int initialised = 1;",
            "int zeroed;",
            "static int hidden; int *touch(void) { return &hidden; }",
            "int *inside(void) { static int count = 3; return &count; }",
            "_Thread_local int own = 1;",
            "_Thread_local int own;",
            "const char *name = \"writable pointer\";",
        ):
            with self.subTest(text):
                status, said = self.compile(text)
                self.assertEqual(status, 1, said)

    def test_globals_accepts_constant_tables(self):
        status, said = self.compile('const char *const names[] = { "a", "b" }; static const int n[2] = { 1 }; '
                                    "int get(int i) { return n[i]; }")
        self.assertEqual(status, 0, said)


if __name__ == "__main__":
    unittest.main()
