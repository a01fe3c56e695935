import type { BackupCount, BackupHeader } from "#contracts/operation/v1/admin";
import { renderFields } from "./table.ts";
import { showTime } from "./units.ts";

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
