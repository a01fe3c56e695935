import type { Operation } from "#contracts/operation/v1/operation";
import { renderFields, renderTable } from "./table.ts";
import { lastPart, showAge, showEnum, showTime } from "./units.ts";

export function showOperations(operations: readonly Operation[], now: Date): string {
  if (operations.length === 0) return "No operations.";
  const rows = operations.map((operation) => [
    lastPart(operation.name),
    operation.kind,
    lastPart(operation.target),
    state(operation),
    operation.error?.reason ?? operation.progress?.step ?? "",
    showAge(operation.createTime, now),
  ]);
  return renderTable(["ID", "KIND", "TARGET", "STATE", "AT", "AGE"], rows);
}

export function showOperation(operation: Operation): string {
  const { progress, error } = operation;
  return renderFields([
    ["Name", operation.name],
    ["Kind", operation.kind],
    ["Target", operation.target],
    ["State", state(operation)],
    ["Step", operation.done ? undefined : progress?.step],
    [
      "Progress",
      operation.done || progress === undefined ? undefined : `${progress.percent} % ${progress.message}`.trim(),
    ],
    ["Error", error && `${error.reason}: ${error.message}`],
    ["What to do", error?.help],
    ["Output", operation.output && JSON.stringify(operation.output)],
    ["Asked by", operation.principal],
    ["Asked", showTime(operation.createTime)],
    ["Changed", showTime(operation.updateTime)],
  ]);
}

const state = (operation: Operation): string => showEnum(operation.state, "OPERATION_STATE_");
