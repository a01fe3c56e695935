import type {
  BackupCount,
  BackupHeader,
  Quarantined,
  RebuildFinding,
  RebuildSummary,
} from "#contracts/operation/v1/admin";
import { renderFields, renderTable } from "./table.ts";
import { lastPart, showTime } from "./units.ts";

const words: Readonly<Record<string, string>> = { REC: "Records", OPS: "Operations", EVT: "Events" };

/** A backup that is whole. */
export function showBackup(
  file: string,
  { header, counts }: { readonly header: BackupHeader; readonly counts: readonly BackupCount[] },
): string {
  const states = counts.map(({ stream, messages, digest }) => {
    const shown = `${messages} ${messages === 1 ? "state" : "states"}, ${digest.slice(0, "sha256:".length + 12)}`;
    return [words[stream] ?? stream, shown] as const;
  });
  return renderFields([
    ["Backup", `${file} (verified)`],
    ["Of", showTime(header.time)],
    ["Written by", `Stillpoint ${header.stillpointVersion}, nats-server ${header.natsVersion}`],
    ...states,
  ]);
}

/** What was, or would be, done about each thing, and what is lost for good. */
export function showRebuild(findings: readonly RebuildFinding[], summary: RebuildSummary): string {
  const { dryRun, counts, notRebuilt, hosts, hostsAnswered } = summary;
  const rows = findings.map(({ action, name, host, detail }) => [action.toUpperCase(), name, lastPart(host), detail]);
  const table = rows.length === 0 ? "" : renderTable(["ACTION", "NAME", "HOST", "DETAIL"], rows);
  const told = Object.entries(counts).map(([action, count]) => `${count} ${action}`);
  const nothing = dryRun ? "nothing" : "Nothing was to be done";
  const sum = told.length === 0 ? nothing : told.join(", ");
  const lost = notRebuilt.length === 0 ? "" : `Not in it: ${notRebuilt.join("; ")}.\n`;
  const asked = `${hostsAnswered} of ${hosts} ${hosts === 1 ? "host" : "hosts"} answered.\n`;
  return `${table}${asked}${dryRun ? "Nothing was written. It would be: " : ""}${sum}.\n${lost}`;
}

export function showQuarantined(workloads: readonly Quarantined[]): string {
  if (workloads.length === 0) return "Nothing is in quarantine.\n";
  const rows = workloads.map(({ workload, uid, host, reason, detail, time }) => {
    return [uid, lastPart(host), workload, reason, detail, showTime(time)];
  });
  return renderTable(["UID", "HOST", "CALLED", "REASON", "DETAIL", "SINCE"], rows);
}
