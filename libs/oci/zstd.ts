import { promisify } from "node:util";
import { constants, zstdCompress, zstdDecompress } from "node:zlib";
import { StillpointError } from "#libs/errors";

const compressAsync = promisify(zstdCompress);
const decompressAsync = promisify(zstdDecompress);
/** Fixed: the same chunk should give the same blob. */
const LEVEL = 3;

/** One zstd frame. */
export async function compress(bytes: Uint8Array): Promise<Buffer> {
  return await compressAsync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: LEVEL } });
}

/** Undoes `compress`, to exactly `length` bytes. @throws StillpointError IMAGE_CORRUPT */
export async function decompress(bytes: Uint8Array, length: number): Promise<Buffer> {
  try {
    const content = await decompressAsync(bytes, { maxOutputLength: length });
    if (content.length === length) return content;
  } catch (error) {
    throw new StillpointError("IMAGE_CORRUPT", "a chunk of the disk cannot be decompressed", { cause: error });
  }
  throw new StillpointError("IMAGE_CORRUPT", `a chunk of the disk is not ${length} bytes long`);
}
