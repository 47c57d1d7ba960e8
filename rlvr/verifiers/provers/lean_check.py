"""The Lean program that checks a compiled proof; it runs where the model's text is not."""

from __future__ import annotations

# The statement's imports come first, and the kernel refuses to declare a name twice: a compiled file cannot bring its own
# natural numbers or equality.
PROGRAM = """import Lean
import Lean.Replay
open Lean

structure Walk where
  seen : NameSet := {}
  axioms : Array Name := #[]

partial def walk (env : Environment) (name : Name) : StateM Walk Unit := do
  if (← get).seen.contains name then return
  modify fun w => { w with seen := w.seen.insert name }
  let all (e : Expr) : StateM Walk Unit := e.getUsedConstants.forM (walk env)
  match env.find? name with
  | none => modify fun w => { w with axioms := w.axioms.push name }
  | some info =>
    all info.type
    match info with
    | .axiomInfo _ => modify fun w => { w with axioms := w.axioms.push name }
    | .defnInfo v => all v.value
    | .thmInfo v => all v.value
    | .opaqueInfo v => all v.value
    | .inductInfo v => v.ctors.forM (walk env)
    | _ => pure ()

def main (arguments : List String) : IO UInt32 := do
  let [text] := arguments | return 2
  let name := text.toName
  initSearchPath (← findSysroot)
  let (ours, _) ← readModuleData "Statement.olean"
  let (theirs, _) ← readModuleData "Candidate.olean"
  let mut constants := {}
  for each in theirs.constNames, info in theirs.constants do
    constants := constants.insert each info
  let wanted := ours.constants.find? fun info => info.name == name
  let some wanted := wanted | return 2
  let before ← importModules (ours.imports ++ theirs.imports) {}
  let env ← before.replay constants
  match env.find? name with
  | none => IO.println "no theorem of this name"
  | some found =>
    if found.type == wanted.type && found.levelParams == wanted.levelParams then
      IO.println "same"
      let (_, walked) := (walk env name).run {}
      walked.axioms.forM fun each => IO.println each.toString
    else
      IO.println "a different theorem of this name"
  return 0
"""
