import { systemClock, systemRandom } from "#libs/clock";
import { leasesContract } from "./leases.contract.ts";
import { MemoryLeases } from "./memory-leases.ts";

leasesContract("MemoryLeases", async () => {
  const leases = new MemoryLeases({ clock: systemClock, random: systemRandom });
  return { leases, forget: async () => leases.flush() };
});
