import type { CheckpointReadiness } from "#contracts/vm/v1/vm";
import { renderFields } from "./table.ts";
import { showBytes, showEnum } from "./units.ts";

/** What a checkpoint would give, in one line: "standard (saved-state consistent), not production: agent.absent". */
export function showReadinessLine({ policy, outcome, consistency, findings }: CheckpointReadiness): string {
  const wanted = showEnum(policy, "CHECKPOINT_TYPE_");
  const causes = findings.filter(({ severity }) => severity === "SEVERITY_ERROR").map(({ code }) => code);
  const why = causes.length === 0 ? "" : `: ${causes.join(", ")}`;
  if (outcome === "refused") return wanted === "disabled" ? "refused: policy.disabled" : `refused${why}`;
  const reached = outcome === consistency ? outcome : `${outcome} (${consistency} consistent)`;
  return causes.length === 0 ? reached : `${reached}, not ${wanted}${why}`;
}

/** The verdict, what it rests on, then each finding with what to do. */
export function showReadiness(readiness: CheckpointReadiness): string {
  const facts = readiness.engine === "" ? vmFacts(readiness) : containerFacts(readiness);
  return `A checkpoint now: ${showReadinessLine(readiness)}.\n\n${facts}${showFindings(readiness)}`;
}

function containerFacts({ policy, engine, writers, mounts, freeBytes }: CheckpointReadiness): string {
  const volumes = (isTaken: boolean) => mounts.filter(({ freezable }) => freezable === isTaken);
  return renderFields([
    ["Policy", showEnum(policy, "CHECKPOINT_TYPE_")],
    ["Engine", engine],
    ["Quiesce command", writers.map(({ name }) => name).join(", ") || "none"],
    [
      "Volumes",
      volumes(true)
        .map(({ path }) => path)
        .join(", "),
    ],
    [
      "Left out",
      volumes(false)
        .map(({ path, why }) => `${path} (${why})`)
        .join("\n"),
    ],
    ["Free space", showBytes(freeBytes)],
  ]);
}

function vmFacts(readiness: CheckpointReadiness): string {
  const { policy, guestAgent, freezeEnabled, hooksEnabled, writers, mounts, ramBlockers, freeBytes } = readiness;
  return renderFields([
    ["Policy", showEnum(policy, "CHECKPOINT_TYPE_")],
    ["Guest agent", guestAgent?.connected === true ? guestAgent.version : "does not answer"],
    ["Freeze", freezeEnabled ? "allowed" : "no"],
    ["Hooks", hooksEnabled ? "on" : "no"],
    ["Writers", writers.map(({ name, state }) => `${name} ${state}`).join(", ")],
    [
      "Not frozen",
      mounts
        .filter(({ freezable }) => !freezable)
        .map(({ path, type, why }) => `${path} (${type}: ${why})`)
        .join("\n"),
    ],
    ["RAM blocked", ramBlockers.join("\n")],
    ["Free space", showBytes(freeBytes)],
  ]);
}

function showFindings({ findings }: CheckpointReadiness): string {
  const graveFirst = findings.toSorted((a, b) => gravity.indexOf(a.severity) - gravity.indexOf(b.severity));
  const told = graveFirst.map(({ code, severity, message, help }): [string, string] => [
    `${showEnum(severity, "SEVERITY_")} ${code}`,
    help === "" ? message : `${message}\n${help}`,
  ]);
  return told.length === 0 ? "" : `\n${renderFields(told)}`;
}

const gravity: readonly string[] = ["SEVERITY_ERROR", "SEVERITY_WARNING", "SEVERITY_INFO"];
