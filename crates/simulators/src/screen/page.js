// Shows what has changed, unless somebody is just typing there.
const week = document.getElementById("week");
const away = document.querySelector(".away");
const isBusy = () => week.contains(document.activeElement);
setInterval(async () => {
  if (isBusy() || document.hidden) return;
  try {
    const answer = await fetch(location.href, { cache: "no-store" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!isBusy()) week.replaceChildren(...page.getElementById("week").childNodes);
    away.hidden = true;
  } catch {
    away.hidden = false;
  }
}, 2000);
