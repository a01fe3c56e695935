const binary = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** Bytes in the largest binary unit that leaves at least one: "512 MiB", "1.5 GiB". */
export function showBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < binary.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toFixed(value < 10 ? 1 : 0))} ${binary[unit] ?? "B"}`;
}

/** CPUs, which may be given in thousandths: "2", "0.25". */
export function showCpus({ cpus = 0, cpuMillis = 0 }: { cpus?: number; cpuMillis?: number } = {}): string {
  return `${cpuMillis === 0 ? cpus : cpuMillis / 1_000}`;
}

/** How long ago, in the largest whole unit: "3d", "5h", "12m", "7s". */
export function showAge(time: Date | undefined, now: Date): string {
  return time === undefined ? "" : showSeconds((now.getTime() - time.getTime()) / 1000);
}

/** A length of time, in the largest whole unit: "3d", "5h", "12m", "7s". */
export function showSeconds(length: number): string {
  const seconds = Math.max(0, Math.floor(length));
  for (const [unit, size] of [
    ["d", 86_400],
    ["h", 3_600],
    ["m", 60],
  ] as const) {
    if (seconds >= size) return `${Math.floor(seconds / size)}${unit}`;
  }
  return `${seconds}s`;
}

/** Local time to the second, such as "2026-03-01 14:05:09". */
export function showTime(time: Date | undefined): string {
  if (time === undefined) return "";
  const local = new Date(time.getTime() - time.getTimezoneOffset() * 60_000);
  return local.toISOString().slice(0, 19).replace("T", " ");
}

/** The last word of an enum value in lower case: "VM_STATE_RUNNING" of "VM_STATE_" is "running". */
export const showEnum = (value: string, prefix: string): string =>
  value.replace(prefix, "").toLowerCase().replaceAll("_", "-");

/** `key=value`, one a line. */
export const showLabels = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join("\n");

/** The last part of a resource name. */
export const lastPart = (name: string): string => name.slice(name.lastIndexOf("/") + 1);

/** A workload as it is written on the command line: a VM by its name alone. */
export const showWorkload = (name: string): string =>
  name.includes("/containers/") ? `container/${lastPart(name)}` : lastPart(name);
