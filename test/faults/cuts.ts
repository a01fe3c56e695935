import type { Machine, Network } from "../harness/network.ts";

type Cut = (network: Network, one: Machine, other: Machine) => Promise<void>;

/** How two machines fail to hear each other. */
export const cuts: Readonly<Record<string, Cut>> = {
  partition: (network, one, other) => network.part(one, other),
  "one-way loss": (network, one, other) => network.silence(one, other),
  "one-way loss back": (network, one, other) => network.silence(other, one),
  "30 % loss": async (network, one, other) => {
    await network.lose(one, other, 0.3);
    await network.lose(other, one, 0.3);
  },
  resets: async (network, one, other) => {
    await network.reset(one, other);
    await network.reset(other, one);
  },
};

/** One machine and all that it speaks with. */
export async function cutOff(network: Network, one: Machine, others: readonly Machine[], cut: Cut): Promise<void> {
  for (const other of others) await cut(network, one, other);
}
