import { StillpointError } from "#libs/errors";

/** The digest that an OVA's list (`.mf`) has of one of its files. */
export interface OvaDigest {
  readonly name: string;
  readonly algorithm: "sha1" | "sha256" | "sha512";
  readonly hex: string;
}

const LINE = /^(SHA1|SHA256|SHA512)\s*\((.+)\)\s*=\s*([0-9a-f]+)\s*$/i;
const HEX_LENGTH = { sha1: 40, sha256: 64, sha512: 128 };

/** Reads such a list (DSP0243, "Manifest": `SHA256(name)= hex` a line). @throws StillpointError IMAGE_INVALID */
export function parseOvaManifest(text: string): OvaDigest[] {
  const lines = text.split(/\r?\n/).filter((line) => line.trim() !== "");
  return lines.map((line) => {
    const [, kind = "", name = "", hex = ""] = LINE.exec(line) ?? [];
    const algorithm = kind.toLowerCase();
    if (isAlgorithm(algorithm) && hex.length === HEX_LENGTH[algorithm]) {
      return { name: name.replace(/^\.\//, ""), algorithm, hex: hex.toLowerCase() };
    }
    throw new StillpointError(
      "IMAGE_INVALID",
      `the OVA's list of digests has a line that is none: ${line.slice(0, 80)}`,
    );
  });
}

function isAlgorithm(name: string): name is OvaDigest["algorithm"] {
  return name in HEX_LENGTH;
}
