//! The company of the demo: its departments and members, and a day on which much happens. Seeded.

use std::io;

use serde_json::{Value, json};
use simulators::{Dice, Record, WecomSimulator};

/// Departments below the company itself.
const DEPARTMENTS: [&str; 8] =
    ["研发部", "销售部", "市场部", "财务部", "人力资源部", "法务部", "客服部", "采购部"];
const TEAMS: [&str; 4] = ["一组", "二组", "华东区", "华南区"];
const SURNAMES: [&str; 12] = ["王", "李", "张", "刘", "陈", "杨", "赵", "黄", "周", "吴", "欧阳", "司马"];
const GIVEN: [&str; 10] = ["伟", "芳", "娜", "敏", "静", "磊", "洋", "艳", "勇", "丽娟"];
/// The first department's id.
const FIRST_ID: u64 = 10;
/// Members of a department, about.
const MEMBERS_OF_DEPARTMENT: u64 = 12;

/// Lays the company out: departments in departments, members in one or two of them, a leader for each.
///
/// # Errors
/// As the simulator's.
pub(super) fn lay_out(wecom: &WecomSimulator, members: u64, seed: u64) -> io::Result<()> {
    let mut dice = Dice::new(seed);
    let departments = (members / MEMBERS_OF_DEPARTMENT).clamp(DEPARTMENTS.len() as u64, 2_000);
    for n in 0..departments {
        wecom
            .seed(record(json!({ "id": FIRST_ID + n, "name": department_name(n), "parentid": parent(n) })))?;
    }
    for n in 0..members {
        let home = FIRST_ID + n % departments;
        let other = FIRST_ID + below(&mut dice, departments);
        let is_in_two = dice.chance(0.1) && other != home;
        let ids = if is_in_two { vec![home, other] } else { vec![home] };
        // The first one of each department leads it.
        let leads = u8::from(n < departments);
        wecom.seed(record(json!({
            "userid": userid(n),
            "name": format!("{}{}", dice.pick(&SURNAMES), dice.pick(&GIVEN)),
            "department": ids,
            "is_leader_in_dept": ids.iter().map(|id| if *id == home { leads } else { 0 }).collect::<Vec<_>>(),
            "direct_leader": if n < departments { vec![] } else { vec![userid(n % departments)] },
            "position": if leads == 1 { "经理" } else { "" },
            // Some have never logged in, a few are disabled.
            "status": if dice.chance(0.1) { 4 } else { 1 },
            "enable": u8::from(!dice.chance(0.03)),
        })))?;
    }
    Ok(())
}

fn record(fields: Value) -> Record {
    fields.as_object().cloned().unwrap_or_default()
}

fn below(dice: &mut Dice, end: u64) -> u64 {
    dice.roll() % end.max(1)
}

fn userid(n: u64) -> String {
    format!("zhang{n:05}")
}

fn department_name(n: u64) -> String {
    let name =
        |list: &[&'static str], n: u64| list.get((n % list.len() as u64) as usize).copied().unwrap_or("部");
    let top = DEPARTMENTS.len() as u64;
    if n < top { name(&DEPARTMENTS, n).to_owned() } else { name(&TEAMS, n / top).to_owned() }
}

/// Those of the top are below the company, the others below one that comes before them.
fn parent(n: u64) -> u64 {
    let top = DEPARTMENTS.len() as u64;
    if n < top { 1 } else { FIRST_ID + (n - top) / 2 }
}

/// What happens on that day, in the order in which people do it; what WeCom says of it comes in any.
///
/// # Errors
/// What WeCom has against it.
pub(super) fn a_day(wecom: &WecomSimulator, members: u64) -> Result<Vec<&'static str>, String> {
    let departments = (members / MEMBERS_OF_DEPARTMENT).clamp(DEPARTMENTS.len() as u64, 2_000);
    let mut told = Vec::new();
    let new = FIRST_ID + departments + 5;
    for (id, name, parent) in [(new, "海外部", 1), (new + 1, "欧洲区", new), (new + 2, "柏林办公室", new + 1)]
    {
        wecom.create_as_person(&record(json!({ "id": id, "name": name, "parentid": parent })))?;
    }
    for n in 0..10 {
        let fields =
            json!({ "userid": format!("berlin{n}"), "name": format!("新同事{n}"), "department": [new + 2] });
        wecom.create_as_person(&record(fields))?;
    }
    told.push("three departments one below the other are made, and ten people join the lowest");
    wecom.edit_as_person(&format!("party:{}", FIRST_ID + 1), &record(json!({ "name": "销售与渠道部" })))?;
    told.push("a department gets another name, of which WeCom tells nothing");
    wecom.edit_as_person(
        &format!("party:{}", FIRST_ID + departments - 1),
        &record(json!({ "parentid": new })),
    )?;
    told.push("a department moves, with all who are in it");
    for n in [departments, departments + 1, departments + 2] {
        wecom.delete_as_person(&format!("user:{}", userid(n)))?;
    }
    told.push("three people leave");
    let (old, renamed) = (userid(departments + 3), json!({ "newuserid": "li.renamed", "name": "李新名" }));
    wecom.edit_as_person(&format!("user:{old}"), &record(renamed))?;
    told.push("somebody gets another userid");
    wecom.edit_as_person(&format!("user:{}", userid(departments + 4)), &record(json!({ "enable": 0 })))?;
    told.push("somebody is disabled");
    let moved = json!({ "department": [FIRST_ID, FIRST_ID + 2] });
    wecom.edit_as_person(&format!("user:{}", userid(departments + 5)), &record(moved))?;
    told.push("somebody works for two departments from now on");
    Ok(told)
}
