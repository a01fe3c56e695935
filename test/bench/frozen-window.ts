import { CheckpointType } from "#contracts/vm/v1/vm";
import { buildGuest, type GuestVariant } from "../guest/build.ts";
import { type BareGuest, startBareGuest } from "./bare-guest.ts";
import { type BenchStage, openBenchStage } from "./bench-stage.ts";
import { type BenchmarkResult, median } from "./benchmark.ts";
import { frozenMs, receiptOf } from "./checkpoint-client.ts";
import { hasLibvirt, type LibvirtGuest, startLibvirtGuest } from "./libvirt-guest.ts";

const rounds = 9;
const diskMiB = 256;
const cases: readonly { readonly name: string; readonly variant: GuestVariant; readonly disks: number }[] = [
  { name: "hooks_1_disk", variant: "default", disks: 1 },
  { name: "hooks_2_disks", variant: "default", disks: 2 },
  { name: "no_hooks_1_disk", variant: "no-hooks", disks: 1 },
  { name: "no_hooks_2_disks", variant: "no-hooks", disks: 2 },
];

/**
 * How long a guest stands frozen (freeze reply to thaw reply) in a production checkpoint, in turn with the bare QMP
 * sequence over prepared overlays and, where Debian's libvirt is installed, with `virsh snapshot-create-as --disk-only
 * --atomic --quiesce`, each on an equal guest.
 */
export async function benchmark(): Promise<BenchmarkResult> {
  const metrics: Record<string, number> = {};
  const baseline: Record<string, number> = {};
  const withLibvirt = await hasLibvirt();
  if (!withLibvirt) console.log("libvirtd and virsh are not installed: no comparison with libvirt");
  for (const { name, variant, disks } of cases) {
    const windows = await measure(variant, disks, withLibvirt);
    metrics[`${name}_frozen_ms`] = windows.product;
    baseline[`${name}_frozen_ms`] = windows.bare;
    metrics[`${name}_bare_ratio`] = windows.product / windows.bare;
    metrics[`${name}_whole_window_ratio`] = windows.productWhole / windows.bareWhole;
    if (windows.libvirt === undefined) continue;
    metrics[`${name}_libvirt_ratio`] = windows.product / windows.libvirt;
    baseline[`${name}_libvirt_frozen_ms`] = windows.libvirt;
  }
  return { metrics, baseline };
}

async function measure(variant: GuestVariant, disks: number, withLibvirt: boolean) {
  await using stage = await openBenchStage([variant]);
  const more = Array.from({ length: disks - 1 }, () => ["--disk", `${diskMiB}MiB`]).flat();
  const options = ["--image", `linux:${variant}`, ...more];
  await stage.boot("bench-1", ...options);
  await using bare = await startBareGuest(await stage.twin("bare-1", ...options));
  await using libvirt = withLibvirt ? await startTwinUnderLibvirt(variant, disks) : undefined;
  return await inTurn(stage, bare, libvirt);
}

async function startTwinUnderLibvirt(variant: GuestVariant, disks: number): Promise<LibvirtGuest> {
  const guest = await buildGuest(variant);
  return await startLibvirtGuest({ guest, memoryMiB: 256, diskMiB: Array.from({ length: disks - 1 }, () => diskMiB) });
}

/** Medians of all, measured one after the other, so that a drift of the machine meets each. */
async function inTurn({ api }: BenchStage, bare: BareGuest, libvirt: LibvirtGuest | undefined) {
  const found: Record<"bare" | "bareWhole" | "product" | "productWhole" | "libvirt", number[]> = {
    ...{ bare: [], bareWhole: [], product: [], productWhole: [], libvirt: [] },
  };
  for (let round = 0; round < rounds; round++) {
    const window = await bare.frozenWindow();
    found.bare.push(window.fromReplyMs);
    found.bareWhole.push(window.fromAskMs);
    const taken = await api.take("bench-1", CheckpointType.PRODUCTION_ONLY);
    found.product.push(frozenMs(taken));
    found.productWhole.push(receiptOf(taken).freeze?.windowMs ?? Number.NaN);
    if (libvirt !== undefined) found.libvirt.push(await libvirt.frozenWindowMs());
    console.log(
      Object.entries(found)
        .flatMap(([name, all]) => (all.length > 0 ? `${name} ${all.at(-1)?.toFixed(1)}` : []))
        .join(", "),
    );
  }
  const { libvirt: underLibvirt, ...others } = found;
  return {
    ...{ bare: median(others.bare), bareWhole: median(others.bareWhole) },
    ...{ product: median(others.product), productWhole: median(others.productWhole) },
    libvirt: underLibvirt.length > 0 ? median(underLibvirt) : undefined,
  };
}
