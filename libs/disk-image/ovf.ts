import { XMLParser } from "fast-xml-parser";
import { z } from "zod";
import { StillpointError } from "#libs/errors";

/** A disk that an OVF descriptor names. */
export interface OvfDisk {
  readonly id: string;
  /** The file with its data. */
  readonly file: string;
  /** Size that a guest sees; undefined when the descriptor says it in a way that we do not know. */
  readonly capacityBytes?: number;
}

const attribute = z.string().max(1024);
const fileShape = z.object({ "@id": attribute, "@href": attribute, "@chunkSize": attribute.optional() });
const diskShape = z.object({
  "@diskId": attribute,
  "@fileRef": attribute.optional(),
  "@parentRef": attribute.optional(),
  "@capacity": attribute.optional(),
  "@capacityAllocationUnits": attribute.optional(),
});
const envelopeShape = z.object({
  Envelope: z.object({
    References: z.object({ File: z.array(fileShape).max(1000) }),
    DiskSection: z.object({ Disk: z.array(diskShape).max(1000) }),
  }),
});

const lists = new Set(["File", "Disk"]);

/**
 * The disks with data of an OVF descriptor (DSP0243, OVF 1 and 2), in its order. Entities and document types are
 * refused before anything is parsed.
 * @throws StillpointError IMAGE_INVALID, IMAGE_BACKING_FILE for a disk that is a difference to another
 */
export function parseOvf(xml: string): OvfDisk[] {
  const { References, DiskSection } = envelopeOf(xml);
  const files = new Map(References.File.map((file) => [file["@id"], file]));
  return DiskSection.Disk.flatMap((disk) => {
    const { "@diskId": id, "@fileRef": reference } = disk;
    if (reference === undefined || reference === "") return [];
    const file = files.get(reference);
    if (file === undefined) throw invalid(`disk ${id} is in a file that it does not name`);
    if (file["@chunkSize"] !== undefined) throw invalid(`disk ${id} is cut into several files`);
    if (disk["@parentRef"]) {
      throw new StillpointError("IMAGE_BACKING_FILE", `disk ${id} of this OVA is a difference to another disk`);
    }
    const capacityBytes = capacityOf(disk["@capacity"], disk["@capacityAllocationUnits"]);
    return [{ id, file: file["@href"].replace(/^\.\//, ""), ...(capacityBytes !== undefined && { capacityBytes }) }];
  });
}

function envelopeOf(xml: string) {
  if (/<!(DOCTYPE|ENTITY)/i.test(xml)) throw invalid("it defines entities");
  const parser = new XMLParser({
    ignoreAttributes: false,
    attributeNamePrefix: "@",
    removeNSPrefix: true,
    parseTagValue: false,
    parseAttributeValue: false,
    isArray: (name) => lists.has(name),
  });
  try {
    return envelopeShape.parse(parser.parse(xml, true)).Envelope;
  } catch (error) {
    throw invalid("it does not name disks as OVF 1 and 2 do", error);
  }
}

/** Undefined when it is no number, or in units that we do not know. */
function capacityOf(capacity = "", units = "byte"): number | undefined {
  const unitBytes = unitOf(units.trim());
  const bytes = unitBytes === undefined || capacity === "" ? Number.NaN : Number(capacity) * unitBytes;
  return bytes > 0 ? bytes : undefined;
}

/** DSP0004, "Programmatic units", as far as disks use them, and the words of OVF 0.9. */
function unitOf(units: string): number | undefined {
  if (units === "byte") return 1;
  if (units === "MegaBytes") return 2 ** 20;
  if (units === "GigaBytes") return 2 ** 30;
  const [, base, exponent] = /^byte\s*\*\s*(2|10)\^(\d{1,2})$/.exec(units) ?? [];
  return base === undefined ? undefined : Number(base) ** Number(exponent);
}

function invalid(why: string, cause?: unknown): StillpointError {
  return new StillpointError("IMAGE_INVALID", `this OVA's descriptor cannot be used: ${why}`, {
    cause,
    help: "Export the VM again as OVF 1.0 or 2.0 with whole disks.",
  });
}
