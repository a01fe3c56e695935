import { ImagesDefinition, type ImagesServiceImplementation } from "#contracts/registry/v1/registry";
import { SchedulerDefinition, type SchedulerServiceImplementation } from "#contracts/scheduler/v1/scheduler";
import { StillpointError } from "#libs/errors";
import type { CallScope } from "#libs/rpc";
import { partialService } from "#libs/testing";

export const hostInTest = "hosts/n1";
export const digestInTest = `sha256:${"0123456789abcdef".repeat(4)}`;

/** Places everything on one host, unless `failure` says why not. */
export function standInScheduler(
  reservations: Map<string, string>,
  failure: () => StillpointError | undefined,
): SchedulerServiceImplementation<CallScope> {
  return partialService<SchedulerServiceImplementation<CallScope>>(SchedulerDefinition, {
    async place({ uid, workload }) {
      const error = failure();
      if (error !== undefined) throw error;
      reservations.set(uid, workload);
      return { host: hostInTest };
    },
    async release({ uid }) {
      reservations.delete(uid);
      return {};
    },
  });
}

/** Knows the VM image "guest:1" of 1 GiB and the container image "web:1". */
export function standInRegistry(): ImagesServiceImplementation<CallScope> {
  const known = { digest: digestInTest, virtualSizeBytes: 2 ** 30 };
  return partialService<ImagesServiceImplementation<CallScope>>(ImagesDefinition, {
    async getImage({ reference }) {
      if (reference === "guest:1") {
        return {
          ...known,
          reference,
          repository: "guest",
          artifactType: "application/vnd.stillpoint.vm.image.v1+json",
        };
      }
      if (reference === "web:1") {
        return { ...known, reference, repository: "web", artifactType: "application/vnd.oci.image.config.v1+json" };
      }
      throw new StillpointError("IMAGE_NOT_FOUND", `there is no image ${reference}`);
    },
  });
}
