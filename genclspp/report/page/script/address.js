// The address: all that a view consists of stands behind the # and nowhere else. Controls change the address, a
// changed address draws the view; so going back, and sending an address, restore it.

/** What the address says: a plain object of texts. */
function view() {
  return Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
}

/** An address like this one with some entries changed; those that are null or empty are left out. */
function addressOf(changes, from = view()) {
  const entries = Object.entries({ ...from, ...changes }).filter(([, value]) => value !== null && value !== "");
  return `#${new URLSearchParams(entries)}`;
}

/** Go to a view. `quietly` leaves no entry in the history, for what changes with every letter or example. */
function go(changes, quietly = false) {
  const address = addressOf(changes);
  if (address === location.hash || (address === "#" && !location.hash)) return;
  if (quietly) location.replace(address);
  else location.hash = address;
}
