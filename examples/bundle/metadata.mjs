// Read one metadata entry of an ONNX file, which onnxruntime-node does not return.

/** Return the value of `key` in the file's metadata_props (field 14 of ModelProto: key is field 1, value field 2). */
export function metadata(model, key) {
  for (const [number, entry] of fields(model)) {
    if (number !== 14) continue;
    const { 1: name, 2: value } = Object.fromEntries(fields(entry));
    if (Buffer.from(name).toString() === key) return Buffer.from(value).toString();
  }
  throw new Error(`the ONNX file has no metadata ${key}; expected a file of "partsight bundle"`);
}

// Yield number and bytes of each field of a Protocol Buffers message that has a length.
function* fields(message) {
  let at = 0;
  const varint = () => {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = message[at++];
      value += (byte & 127) * scale;
      if (!(byte & 128)) return value;
    }
  };
  while (at < message.length) {
    const tag = varint();
    const type = tag & 7; // 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes
    if (type === 0) varint();
    else {
      const size = type === 2 ? varint() : type === 1 ? 8 : 4;
      if (type === 2) yield [tag >> 3, message.subarray(at, at + size)];
      at += size;
    }
  }
}
