// Blocks: what Python packed (zlib, base64) into script elements, unpacked when it is first asked for.

const unpacked = new Map();

/** The bytes of a block, as an ArrayBuffer. */
async function bytes(name) {
  const text = document.getElementById(`block-${name}`).textContent;
  const packed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).arrayBuffer();
}

/** The value of a block; `read` makes it from bytes, once. */
function block(name, read = (found) => JSON.parse(new TextDecoder().decode(found))) {
  if (!unpacked.has(name)) unpacked.set(name, bytes(name).then(read));
  return unpacked.get(name);
}

/** Places of the predictions of a cell: a 16-bit array, one seed after the other. */
const labelsOf = (place) => block(`labels-${place}`, (found) => new Int16Array(found));

/** The likeliest labels of one seed: `places` and `shares` per example, and the share of the gold label. */
function topOf(place, seed, examples) {
  return block(`top-${place}-${seed}`, (found) => {
    const width = (found.byteLength / examples - 1) / 3; // two bytes of place and one of share each, one of gold
    const places = new Int16Array(found, 0, examples * width);
    const shares = new Uint8Array(found, places.byteLength);
    return (example) => ({
      labels: [...places.subarray(example * width, (example + 1) * width)].map((label, k) => ({
        label,
        share: shares[example * width + k] / 255,
      })),
      gold: shares[examples * width + example] / 255,
    });
  });
}

/** The prompts of one seed, each as numbers of pieces. */
function promptsOf(number) {
  return block(`prompts-${number}`, (found) => {
    const rows = [];
    let before = [];
    for (const [start, end, ...middle] of JSON.parse(new TextDecoder().decode(found))) {
      before = [...before.slice(0, start), ...middle, ...before.slice(before.length - end)];
      rows.push(before);
    }
    return rows;
  });
}
