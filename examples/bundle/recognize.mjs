// Recognise one raw frame with a bundle on ONNX Runtime, without partsight.
//
//   npm install onnxruntime-node
//   node recognize.mjs FILE.onnx FRAME WIDTH HEIGHT
//
// FRAME is a file of WIDTH × HEIGHT pixels, row by row: 3 bytes a pixel, blue first, or 1 byte for a grey bundle.
import { readFileSync } from "node:fs";
import { InferenceSession, Tensor } from "onnxruntime-node";
import { metadata } from "./metadata.mjs";
import { prepare } from "./prepare.mjs";

const REASONS = ["recognised", "agrees_with_none", "two_parts_fit"];

if (process.argv.length !== 6) {
  console.error("usage: node recognize.mjs FILE.onnx FRAME WIDTH HEIGHT");
  process.exit(1);
}
const [file, path, width, height] = process.argv.slice(2);
const model = readFileSync(file);
const bundle = JSON.parse(metadata(model, "partsight.bundle"));
if (bundle.schema_version !== 1) throw new Error(`schema version ${bundle.schema_version}; this program reads 1`);
const { preprocess } = bundle;
const session = await InferenceSession.create(model);

const channels = preprocess.color === "mono" ? 1 : 3;
const frame = { data: readFileSync(path), height: Number(height), width: Number(width), channels };
const expected = height * width * channels;
if (frame.data.length !== expected) throw new Error(`${path} has ${frame.data.length} bytes; expected ${expected}`);
const shape = [1, preprocess.height, preprocess.width, 3]; // one frame
const outputs = await session.run({ image_bgr: new Tensor("uint8", prepare(frame, preprocess), shape) });

const value = (name) => outputs[name].data[0];
const accepted = Boolean(value("accepted"));
const answer = {
  label: accepted ? bundle.labels[Number(value("label_index"))] : null,
  agreement: value("agreement"),
  margin: value("margin"),
  accepted,
  reason: REASONS[Number(value("reason"))],
};
console.log(JSON.stringify(answer));
