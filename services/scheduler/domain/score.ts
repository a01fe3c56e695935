import { fits } from "./feasibility.ts";
import { dimensions, type Host, type Requirements, usedBy } from "./host.ts";

/**
 * How much an uneven remainder costs against a large one. Measured on the Azure traces (reference/scheduling.md,
 * 5.2): best fit alone needs 3 to 9 % more hosts of mixed shapes than with a skew term of 1 or 2, and with more than
 * that homogeneous pools begin to suffer.
 */
const skewWeight = 2;

/**
 * How badly a workload goes with a host that it fits; the least is best. Best fit: what is left, as a share of the
 * host, is small; skew: the resources run out together, so that none is stranded.
 */
export function score(host: Host, requirements: Requirements): number {
  const used = usedBy(host.reservations);
  const left = dimensions.map((dimension) => {
    const capacity = host.capacity[dimension];
    return capacity === 0 ? 0 : (capacity - used[dimension] - requirements[dimension]) / capacity;
  });
  const mean = left.reduce((sum, share) => sum + share, 0) / left.length;
  return mean + skewWeight * (Math.max(...left) - Math.min(...left));
}

/** The hosts that the workload fits, best first; of equals the one whose name sorts first. */
export function rank(hosts: readonly Host[], requirements: Requirements): Host[] {
  return hosts
    .filter((host) => fits(host, requirements))
    .map((host) => ({ host, score: score(host, requirements) }))
    .toSorted((a, b) => a.score - b.score || (a.host.name < b.host.name ? -1 : 1))
    .map(({ host }) => host);
}
