"""Proof, with the real provers: which proofs are right, the reason of each attack, and that none earns anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sampled import sampled

from conftest import needs
from rlvr import Problem, Verdict, load_rules
from rlvr.cli.main import main
from rlvr.errors import ConfigError
from rlvr.verifiers.proof import Proof
from rlvr.verifiers.provers import coq, lean

needs_coq = needs(bool(shutil.which("coqc") and shutil.which("coqchk")), "apt-get install coq")
needs_lean = needs(bool(shutil.which("lean")), "Lean 4 (https://lean-lang.org/install)", in_ci=False)

STATEMENT = "Theorem t : forall n : nat, n + 0 = n."
SCRIPT = "induction n as [|n IH]. reflexivity. simpl. rewrite IH. reflexivity."
PLUS = {"statement": STATEMENT, "prover": "coq"}
LIA = {"statement": "Lemma half (a b : nat) : a < b -> 2 * a < a + b.", "prover": "coq", "imports": "Require Import Lia."}
TREES = {
    "statement": "Theorem flip_flip (t : tree) : flip (flip t) = t.",
    "prover": "coq",
    "definitions": "Inductive tree := Leaf | Node (l r : tree).\n"
    "Fixpoint flip t := match t with Leaf => Leaf | Node l r => Node (flip r) (flip l) end.",
}
CLASSICAL = {
    "statement": "Theorem peirce (P Q : Prop) : ((P -> Q) -> P) -> P.",
    "prover": "coq",
    "imports": "Require Import Classical.",
    "allowed_axioms": ["Classical_Prop.classic"],
}
FLIP = "induction t as [|l IHl r IHr]; simpl; [reflexivity|]. rewrite IHl, IHr. reflexivity."
PEIRCE = "destruct (classic P); tauto."


def problem(truth: Mapping[str, Any]) -> Problem:
    return Problem(id="p", prompt="Prove it.", truth=truth)


def judge(script: str, truth: Mapping[str, Any] = PLUS, **options: Any) -> Verdict:
    """The verdict of `__call__`, as in a worker."""
    response = f"```{truth['prover']}\n{script}\n```"
    verdict = Proof(**options)(response, problem(truth))
    assert verdict.outcome == "scored", verdict
    assert (verdict.span and response[slice(*verdict.span)]) == (script.strip() or None)
    assert verdict.score == float(verdict.reason == "correct")
    return verdict


def whole(script: str, before: str = "", statement: str = STATEMENT) -> str:
    return f"{before}\n{statement}\nProof.\n{script}\nQed."


RIGHT = {
    "script": (SCRIPT, PLUS),
    "script between its words": (f"Proof.\n{SCRIPT}\nQed.", PLUS),
    "transparent": (f"Proof. {SCRIPT} Defined.", PLUS),
    "restated": (whole(SCRIPT), PLUS),
    "restated in other words": (whole(SCRIPT, statement="Lemma t (m : nat) : m + O = m."), PLUS),
    "with a lemma": (whole("intros n. apply u.", f"Lemma u (n : nat) : n + 0 = n.\nProof. {SCRIPT} Qed."), PLUS),
    "with an import": (whole("intros; lia.", "Require Import Lia."), PLUS),
    "with comments": (f"(* Qed. (* \"Admitted.\" *) admit. *) {SCRIPT} (* done *)", PLUS),
    "with bullets": ("induction n.\n- reflexivity.\n- simpl. now f_equal.", PLUS),
    "as a term": ("exact (fun n => eq_sym (plus_n_O n)).", PLUS),
    "binders and an import": ("intros. lia.", LIA),
    "definitions": (FLIP, TREES),
    "definitions, restated": (whole(FLIP, statement=TREES["statement"]), TREES),
    "an allowed axiom": (PEIRCE, CLASSICAL),
    "computed": ("vm_compute. reflexivity.", {"statement": "Theorem c : 2 * 30 = 60.", "prover": "coq"}),
}  # fmt: skip


@needs_coq
@pytest.mark.parametrize("name", sampled(RIGHT, fast=("script", "with a lemma", "definitions, restated", "an allowed axiom")))
def test_right(name: str) -> None:
    script, truth = RIGHT[name]
    assert judge(script, truth).reason == "correct"


CHEAT = "destruct cheat."
OTHER = "Fixpoint t (n : nat) := n."
FALSE = "Module Type X. Parameter x : False. End X."
ATTACKS = {
    # Gaps.
    "admitted": ("Admitted.", "admitted"),
    "admitted behind tactics": ("intros n. Admitted.", "admitted"),
    "admit": ("intros n. admit.", "admitted"),
    "give_up": ("induction n. reflexivity. give_up.", "admitted"),
    "admitted lemma": (whole("apply u.", "Lemma u : forall n : nat, n + 0 = n. Admitted."), "admitted"),
    "admit that leaves no goal": (whole("admit.", "From Coq Require Import Compat.AdmitAxiom."), "admitted"),
    "abort": ("Abort.", "wrong_statement"),
    "nothing": ("Proof.", "proof_error"),
    "half": ("induction n. reflexivity.", "proof_error"),
    # Axioms, by all their names.
    "axiom": (whole(CHEAT, "Axiom cheat : False."), "axiom"),
    "axiom behind an abort": ("Abort. Axiom t : forall n : nat, n + 0 = n.", "axiom"),
    "parameter": (whole(CHEAT, "Parameter cheat : False."), "axiom"),
    "conjecture": (whole(CHEAT, "Conjecture cheat : False."), "axiom"),
    "context": (whole(CHEAT, "Context (cheat : False)."), "axiom"),
    "declared module": (whole("destruct M.x.", f"{FALSE} Declare Module M : X."), "axiom"),
    "functor": (whole("destruct M.x.", f"{FALSE} Module F (M : X).") + " End F. Declare Module N : X. Include F N.", "axiom"),
    "functor without an argument": (whole("destruct M.x.", f"{FALSE} Module F (M : X).") + " End F.", "wrong_statement"),
    "signature": ("Abort. Module Type X. Parameter t : forall n : nat, n + 0 = n. End X. Include X.", "axiom"),
    "axiom of the library": (whole("case proof_admitted.", "From Coq Require Import Compat.AdmitAxiom."), "axiom"),
    "an axiom that is not allowed": (whole("intros n. apply NNPP. auto.", "Require Import Classical."), "axiom"),
    "an axiom that is not used": (whole(SCRIPT, "Axiom spare : False."), "axiom"),
    # Checks that are switched off.
    "guard": (whole("destruct (f 0).", "Unset Guard Checking. Fixpoint f (n : nat) : False := f n."), "axiom"),
    "guard, by attribute": (whole("destruct (f 0).", "#[bypass_check(guard)] Fixpoint f (n : nat) : False := f n."), "axiom"),
    "positivity": (whole("destruct (no (B no)).", "Unset Positivity Checking. Inductive bad := B : (bad -> False) -> bad. "
                         "Definition no (b : bad) : False := match b with B f => f b end."), "axiom"),
    "universes": (whole(f"pose U. {SCRIPT}", "Unset Universe Checking. Definition U := let T := Type in T : T."), "axiom"),
    "switched off for us too": (whole(SCRIPT, "#[global] Unset Universe Checking. #[global] Unset Guard Checking."), "axiom"),
    # A different statement under the same name.
    "another theorem": (whole("exact I.", statement="Theorem t : True."), "proof_error"),
    "another theorem before it": (whole(SCRIPT, "Theorem t : True. Proof. exact I. Qed."), "proof_error"),
    "something else behind an abort": (f"Abort. {OTHER}", "wrong_statement"),
    "another name": ("Abort. Theorem s : True. Proof. exact I. Qed.", "wrong_statement"),
    "reset": (f"{SCRIPT} Qed. Reset t. {OTHER}", "wrong_statement"),
    "section variable": (whole(CHEAT, "Section S. Variable cheat : False.") + " End S.", "wrong_statement"),
    "module": (whole(SCRIPT, "Module M.") + f" End M. {OTHER}", "wrong_statement"),
    "end of a module that is not open": ("End Statement.", "proof_error"),
    "a module that stays open": (whole(SCRIPT, "Module M."), "proof_error"),
    # The same words with a different meaning.
    "notation": (whole("exact (fun _ => I).", 'Notation "x = y" := True : type_scope.'), "wrong_statement"),
    "abbreviation": ('Abort. Notation "x = y" := True : type_scope. Lemma s : forall n : nat, n + 0 = n. '
                     "exact (fun _ => I). Qed. Notation t := s.", "wrong_statement"),
    "infix": (whole("reflexivity.", "Definition add (a b : nat) := a. Infix \"+\" := add : nat_scope."), "wrong_statement"),
    "digits": (whole("reflexivity.", 'Notation "n + 0" := (n : nat) (at level 50) : nat_scope.'), "wrong_statement"),
    "shadowed type": (whole("intros []. reflexivity.", "Inductive nat := O. Definition add (a b : nat) := O. "
                            'Infix "+" := add. Notation "0" := O.'), "wrong_statement"),
    "shadowed equality": (whole("exact (fun _ => I).", "Definition eq {A : Type} (a b : A) := True. "
                                'Notation "x = y" := (eq x y) : type_scope.'), "wrong_statement"),
    # Our own names, and the answer that is looked for.
    "names of the question": ("Abort. Module Check. Module Type Statement. Parameter t : True. End Statement. End Check. "
                              f"Module Candidate. {OTHER} End Candidate. {OTHER}", "wrong_statement"),
    "the answer, printed": (f'Abort. Axiom t : forall n : nat, n + 0 = n. Goal True. idtac "{coq._CLOSED}". Abort.', "axiom"),
    "the answer, in lines of one letter": (whole(CHEAT, "Axiom cheat : False. #[global] Set Printing Width 1."), "axiom"),
    "the command, as a notation": (whole(CHEAT, 'Axiom cheat : False. Tactic Notation "Print" "Assumptions" := idtac.'),
                                   "axiom"),
    # Text that does not end, or ends too early.
    "open comment": (f"{SCRIPT} Qed. (* ", "proof_error"),
    "open comment before the end": ("(* ", "proof_error"),
    "closed comment": ("*) Qed.", "proof_error"),
    "open string": (f'{SCRIPT} idtac "', "proof_error"),
    "comment around the end": ("intros n. (* Qed. *)", "proof_error"),
    "a string in a comment": ('intros n. (* " *) admit. " *) Qed.', "proof_error"),
    "theorem in a comment": (f"(* {STATEMENT} *) admit.", "admitted"),
    # Ways out of the file.
    "quit": (f"{SCRIPT} Qed. Quit.", "proof_error"),
    "drop": ("Drop.", "proof_error"),
    "back": (f"{SCRIPT} Qed. BackTo 1.", "proof_error"),
    "fail": ("Fail reflexivity.", "proof_error"),
    "another folder": (f'{SCRIPT} Qed. Cd "/".', "proof_error"),
    "a file in the place of the compiled one": ('Abort. Print Universes "Candidate.vo". Cd "/dev".', "proof_error"),
    "a file beside it": (whole(CHEAT, 'Redirect "Check" Print nat. Axiom cheat : False.'), "axiom"),
    "load": ('Abort. Load "/etc/passwd".', "proof_error"),
    "foreign code": ('Abort. Declare ML Module "evil".', "proof_error"),
    "prose": ("By induction on n, obviously.", "proof_error"),
    "characters that are none": ("\ud800\0", "proof_error"),
}  # fmt: skip


GAPS = ("admitted behind tactics", "admit", "admit that leaves no goal", "half")
AXIOMS = ("axiom", "an axiom that is not used", "guard")
OTHERS = ("another theorem before it", "something else behind an abort", "notation", "names of the question")
TEXTS = ("the answer, printed", "open comment", "quit", "a file in the place of the compiled one")
FAST = GAPS + AXIOMS + OTHERS + TEXTS


@needs_coq
@pytest.mark.parametrize("name", sampled(ATTACKS, fast=FAST))
def test_an_attack_earns_nothing(name: str) -> None:
    script, why = ATTACKS[name]
    verdict = judge(script)
    assert (verdict.score, verdict.reason) == (0.0, why), verdict.detail


@needs_coq
@pytest.mark.slow
def test_an_axiom_under_the_name_of_an_allowed_one_is_a_new_one() -> None:
    cheat = "Module Classical_Prop. Axiom classic : forall P : Prop, P. End Classical_Prop."
    verdict = judge(whole("intros. apply Classical_Prop.classic.", cheat, str(CLASSICAL["statement"])), CLASSICAL)
    assert verdict.reason == "axiom"
    assert judge(PEIRCE, {**CLASSICAL, "allowed_axioms": []}).reason == "axiom"
    assert judge(PEIRCE, {**CLASSICAL, "allowed_axioms": ["classic"]}).reason == "correct"
    assert judge(PEIRCE, {**CLASSICAL, "allowed_axioms": ["Coq.Logic.Classical_Prop.classic"]}).reason == "correct"


@needs_coq
def test_definitions_come_from_the_ground_truth() -> None:
    """The model's text may define them again; what it then proves is about other definitions."""
    constant = "Inductive tree := Leaf. Definition flip (t : tree) := t."
    assert judge(whole("reflexivity.", constant, str(TREES["statement"])), TREES).reason == "wrong_statement"


@needs_coq
def test_the_time_limit() -> None:
    assert judge("do 1000 (do 1000 (do 1000 idtac)).", wall_s=1.0).reason == "timeout"


@needs_coq
@pytest.mark.slow
def test_other_limits() -> None:
    large = "intros n. assert (Nat.pow 2 40 = 1) by (vm_compute; reflexivity)."
    assert judge(large, memory_mb=512).reason == "memory"
    flood = 'Abort. Goal True. do 100000 idtac "0123456789". Abort.'
    assert judge(flood).reason == "output_limit"
    assert judge(SCRIPT).reason == "correct"


@needs_coq
@pytest.mark.slow
def test_the_same_proof_has_the_same_verdict() -> None:
    for script in (SCRIPT, whole(CHEAT, "Axiom cheat : False."), "intros n; lia."):
        assert len({judge(script) for _ in range(2)}) == 1


@pytest.mark.parametrize(
    ("response", "proof"),
    [
        (f"```coq\n{SCRIPT}\n```", SCRIPT),
        (f"<think>by induction</think>Here:\n```Coq\n{SCRIPT}\n```\nwhich does it", SCRIPT),
        (f"```coq\nadmit.\n```\nor rather\n```coq\n{SCRIPT}\n```", SCRIPT),
        (f"```coq\n{SCRIPT}\n```\nor\n```coq\nadmit.\n```", "admit."),
        (f"```\n{SCRIPT}\n```", SCRIPT),
        (f"So: <answer>\n```coq\n{SCRIPT}\n```\n</answer>", SCRIPT),
        (SCRIPT, SCRIPT),
        (f"Here: {SCRIPT}", f"Here: {SCRIPT}"),
    ],
)
def test_where_the_proof_is(response: str, proof: str) -> None:
    part, start = Proof().scored_part(response, problem(PLUS))
    assert part == Proof().scored_part(proof, problem(PLUS))[0]
    assert response[start:].startswith(proof)
    assert Proof().quick(response, problem(PLUS)) is None


@pytest.mark.parametrize(
    ("response", "why"),
    [
        (f"<think>```coq\n{SCRIPT}\n```</think>", "no_answer"),
        ("", "no_answer"),
        (f"```coq\n{'(* x *)' * 20_000}\n```", "too_large"),
    ],
)
def test_what_needs_no_prover(response: str, why: str) -> None:
    assert Proof()(response, problem(PLUS)).reason == why


@pytest.mark.parametrize(
    ("truth", "why"),
    [
        ({**PLUS, "prover": "isabelle"}, "must be one of coq, lean"),
        ({**PLUS, "prover": None}, "must be one of coq, lean"),
        ({**PLUS, "statement": "forall n : nat, n + 0 = n."}, "one named theorem"),
        ({**PLUS, "statement": STATEMENT + " Proof. exact I. Qed."}, "one named theorem"),
        ({**PLUS, "statement": STATEMENT[:-1]}, "one named theorem"),
        ({**PLUS, "statement": f"(* {STATEMENT} *)"}, "one named theorem"),
        ({**PLUS, "statement": 5}, "must be a text"),
        ({**PLUS, "imports": "Inductive tree := Leaf."}, "put what is no import under definitions"),
        ({**PLUS, "allowed_axioms": "classic"}, "must be a list of names"),
        ({"statement": "theorem t (n : Nat) : n + 0 = n := by simp", "prover": "lean"}, "one named theorem"),
        ({"statement": "theorem t : True", "prover": "lean", "imports": "import Lean\ndef x := 1"}, "under definitions"),
    ],
)
def test_a_truth_of_the_wrong_form_is_reported_at_load(truth: dict[str, Any], why: str) -> None:
    verifier = Proof()
    assert why in str(verifier.check_truth(problem(truth).truth))
    assert verifier.quick(SCRIPT, problem(truth)) == verifier(SCRIPT, problem(truth))
    assert verifier(SCRIPT, problem(truth)).reason == "bad_truth"


@needs_coq
@pytest.mark.parametrize(
    "change",
    sampled(
        [
            {"statement": "Theorem t : forall n : nat, n + = n."},
            {"statement": "Theorem t : forall n : tree, n = n."},
            {"imports": "Require Import Nowhere."},
            {"definitions": "Inductive tree := Leaf"},
        ]
    ),
)
def test_a_truth_that_does_not_compile_is_unscorable(change: dict[str, str]) -> None:
    verdict = Proof()(SCRIPT, problem({**PLUS, **change}))
    assert (verdict.outcome, verdict.reason) == ("unscorable", "bad_truth")


@pytest.mark.parametrize("truth", [PLUS, {"statement": "theorem t : True", "prover": "lean"}])
def test_a_missing_prover_is_an_error_of_ours(truth: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lean._prefix.cache_clear()
    for name in ("bwrap", "env"):
        found = shutil.which(name)
        if found:
            (tmp_path / name).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path))
    verdict = Proof()("trivial.", problem({**truth, "statement": str(truth["statement"]).replace(" t ", " absent ")}))
    assert verdict.outcome == "error"
    assert f"{'coqc' if truth['prover'] == 'coq' else 'lean'} is not installed" in verdict.detail


@pytest.mark.parametrize("options", [{"wall_s": 0}, {"memory_mb": -1}, {"extract": "boxed"}, {"tag": "<a>"}])
def test_a_wrong_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(options))}="):
        Proof(**options)


def test_a_wrong_option_of_the_pack_is_named_by_its_key() -> None:
    with pytest.raises(ConfigError, match=r"rules\.proof\.verifier\.wall_s=0\.0: must be above 0"):
        load_rules("proof", ["rules.proof.verifier.wall_s=0"])


def test_comments_and_strings_are_masked_in_place() -> None:
    text = 'a (* b (* "*)" c *) d *) e "f (* "" g" h *) i'
    assert coq.mask(text).split() == ["a", "e", "h", "i"]
    assert len(coq.mask(text)) == len(text)
    text = 'a /- b /- c -/ d -/ e "f \\" /-" g -- h\ni'
    assert lean.mask(text).split() == ["a", "e", "g", "i"]
    assert len(lean.mask(text)) == len(text)


def test_what_print_assumptions_writes_is_read_strictly() -> None:
    assert coq.axioms_of(coq._CLOSED) == []
    assert coq.axioms_of("Axioms:\nA.b : forall n,\n  n = n\nlong\n  : False") == ["A.b", "long"]
    assert coq.axioms_of("Axioms:\nt relies on an unsafe hierarchy.") == ["t relies on an unsafe hierarchy."]
    for answer in ("", "Axioms:", f"{coq._CLOSED}\nAxioms:\nx : False", f"x\n{coq._CLOSED}"):
        assert coq.axioms_of(answer) != []


ROWS = [
    ("n + 0", PLUS, f"```coq\n{SCRIPT}\n```"),
    ("flip", TREES, f"```coq\n{FLIP}\n```"),
    ("Peirce", CLASSICAL, f"```coq\n{PEIRCE}\n```"),
    ("app", {"statement": "Theorem app_nil (A : Type) (l : list A) : app l nil = l.", "prover": "coq"},
     "```coq\ninduction l; simpl; [reflexivity | now rewrite IHl].\n```"),
]  # fmt: skip


@needs_coq
@pytest.mark.slow
def test_the_pack_on_a_file_of_problems(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The reference proofs get the full score, and no attack of the audit gains."""
    lines = [
        json.dumps({"id": f"r{at}", "prompt": f"Prove {name}.", "truth": truth, "completion": completion})
        for at, (name, truth, completion) in enumerate(ROWS)
    ]
    train, held_out = tmp_path / "train.jsonl", tmp_path / "held_out.jsonl"
    train.write_text("\n".join(lines[:-1]) + "\n")
    held_out.write_text(lines[-1] + "\n")
    arguments = ["rules=proof", "dataset=jsonl", f"dataset.path={train}", f"dataset.eval_path={held_out}", "audit.problems=2"]
    assert main(["audit", *arguments]) == 0, capfd.readouterr()
    shown = capfd.readouterr().out
    assert "4 of 4 get the full score" in shown
    assert "attacks on 2 problems" in shown


LEAN = {"statement": "theorem t (n : Nat) : 0 + n = n", "prover": "lean"}
LEAN_CASES = {
    "by": ("by simp", "correct"),
    "bare": ("simp", "correct"),
    "restated": ("theorem t (n : Nat) : 0 + n = n := by\n  exact Nat.zero_add n", "correct"),
    "sorry": ("by sorry", "admitted"),
    "axiom": ("axiom cheat : False\ntheorem t (n : Nat) : 0 + n = n := cheat.elim", "axiom"),
    "axiom with the end of an allowed name": ("axiom M.propext : False\ntheorem t : 0 = 1 := M.propext.elim", "axiom"),
    "native": ("theorem t (n : Nat) : 0 + n = n := by\n  have : 2 = 2 := by native_decide\n  simp [this]", "correct"),
    "notation": ('local macro_rules | `($a = $b) => `(True)\ntheorem t (n : Nat) : 0 + n = n := trivial', "wrong_statement"),
    "does not hold": ("by exact rfl.foo", "proof_error"),
}  # fmt: skip


@needs_lean
@pytest.mark.parametrize("name", LEAN_CASES)
def test_lean(name: str) -> None:
    script, why = LEAN_CASES[name]
    assert judge(script, LEAN, wall_s=60.0, memory_mb=4096).reason == why


@pytest.mark.parametrize(
    ("proof", "behind"),
    [
        ("by simp", ":= by simp"),
        (":= by simp", ":= by simp"),
        ("simp", ":= by\n  simp"),
        ("| 0 => rfl", "| 0 => rfl"),
        ("theorem t (n : Nat) (h : n = (let m := n; m)) : True := by\n  trivial", ":= by\n  trivial"),
        ("theorem t : ∀ n : Nat, 0 + n = n\n  | n => by simp", "  | n => by simp"),
    ],
)
def test_in_lean_too_the_statement_is_not_the_models(proof: str, behind: str) -> None:
    prover = lean.Lean()
    claim = prover.claim({**LEAN, "statement": f"{LEAN['statement']} := by sorry"})
    assert not isinstance(claim, str)
    assert prover.source(proof, claim).endswith(f"{LEAN['statement']}\n{behind}\n")
    assert claim.name == "t"
