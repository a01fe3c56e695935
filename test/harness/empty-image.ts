import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createRegistryClient, importVmImage } from "#libs/oci";
import type { ReplicatedCluster } from "./replicated-cluster.ts";

/** A disk of zeroes, once `importEmpty` has brought it. */
export const emptyImage = "empty:1";

export async function importEmpty({ folder, registryUrl }: Pick<ReplicatedCluster, "folder" | "registryUrl">) {
  const file = join(folder, "empty.raw");
  await writeFile(file, Buffer.alloc(1 << 20));
  await importVmImage({ file, reference: emptyImage, registry: createRegistryClient({ address: registryUrl }) });
}
